//! How our own types are taken apart.

/// Defines a message once for both forms: each field has its number in protobuf, its name in Rust, its type and its name in
/// YAML; `omitempty` leaves a zero value out of the YAML. A message whose name is empty is no section of the YAML: its fields
/// are those of the outer one.
///
/// ```
/// resource::message! {
///     /// What a machine is called.
///     pub struct Name {
///         /// Short name.
///         1 host: String = "hostname",
///         /// The rest of it.
///         2 domain: String = "domainname" omitempty,
///     }
/// }
/// ```
#[macro_export]
macro_rules! message {
    ($($(#[$about:meta])* pub struct $name:ident {
        $($(#[$note:meta])* $number:literal $field:ident: $type:ty = $yaml:literal $($omit:ident)?,)*
    })*) => {$(
        $(#[$about])*
        #[derive(Clone, Debug, Default, PartialEq)]
        pub struct $name {
            $($(#[$note])* pub $field: $type,)*
        }

        impl $crate::Value for $name {
            fn form(&self) -> $crate::Form<'_> {
                $crate::Form::Message(vec![$($crate::Field {
                    number: $number,
                    name: $yaml,
                    omit_empty: $crate::message!(@omit $($omit)?),
                    form: $crate::Value::form(&self.$field),
                },)*])
            }

            fn shape() -> $crate::Shape {
                $crate::Shape::Message(stringify!($name), vec![$($crate::FieldShape {
                    number: $number,
                    name: $yaml,
                    shape: <$type as $crate::Value>::shape(),
                },)*])
            }
        }
    )*};
    (@omit omitempty) => { true };
    (@omit) => { false };
}

/// Defines an enumeration once for both forms: the first member is the default one; each has its number in protobuf and its
/// name in YAML.
///
/// ```
/// resource::choice! {
///     /// Which way.
///     pub enum Way {
///         /// Up.
///         Up = 1 "up",
///         /// Down.
///         Down = 2 "down",
///     }
/// }
/// ```
#[macro_export]
macro_rules! choice {
    ($($(#[$about:meta])* pub enum $name:ident {
        $(#[$first_note:meta])* $first:ident = $first_number:literal $first_yaml:literal,
        $($(#[$note:meta])* $member:ident = $number:literal $yaml:literal,)*
    })*) => {$(
        $(#[$about])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub enum $name {
            $(#[$first_note])*
            #[default]
            $first = $first_number,
            $($(#[$note])* $member = $number,)*
        }

        impl $name {
            /// Its name in YAML.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    Self::$first => $first_yaml,
                    $(Self::$member => $yaml,)*
                }
            }
        }

        impl $crate::Value for $name {
            fn form(&self) -> $crate::Form<'_> {
                $crate::Form::Choice { number: *self as i32, name: self.as_str().into() }
            }

            fn shape() -> $crate::Shape {
                $crate::Shape::Choice(stringify!($name), &[$first_yaml, $($yaml),*])
            }
        }
    )*};
}
