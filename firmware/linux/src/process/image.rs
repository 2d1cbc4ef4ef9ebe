//! What is executed, as the kernel wants it.

use std::{
    ffi::{CString, OsStr, c_char},
    io,
    os::unix::ffi::OsStrExt,
};

use super::{PATH, Spec};

/// A program with its arguments and its environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Image {
    pub(crate) program: CString,
    /// `argv[0]` is the first.
    pub(crate) arguments: Vec<CString>,
    /// `KEY=VALUE`.
    pub(crate) environment: Vec<CString>,
}

impl Image {
    /// # Errors
    /// For a zero byte within a string.
    pub(crate) fn new(spec: &Spec) -> io::Result<Self> {
        let text = |text: &OsStr| CString::new(text.as_bytes()).map_err(io::Error::from);
        let program = text(spec.program.as_os_str())?;
        let arg0 = spec.arg0.as_deref().map_or_else(|| Ok(program.clone()), text)?;
        let own = spec.env.iter().any(|(key, _)| key == "PATH");
        let path = Some((OsStr::new("PATH"), OsStr::new(PATH))).filter(|_| !own);
        let environment = path.into_iter().chain(spec.env.iter().map(|(key, value)| (key.as_os_str(), value.as_os_str())));
        Ok(Self {
            program,
            arguments: std::iter::once(Ok(arg0)).chain(spec.args.iter().map(|word| text(word))).collect::<io::Result<_>>()?,
            environment: environment.map(|(key, value)| text(&[key, value].join(OsStr::new("=")))).collect::<io::Result<_>>()?,
        })
    }

    pub(crate) fn pointers(&self) -> Pointers<'_> {
        let list = |texts: &[CString]| texts.iter().map(|text| text.as_ptr()).chain([std::ptr::null()]).collect();
        Pointers { image: self, arguments: list(&self.arguments), environment: list(&self.environment) }
    }
}

/// The lists that execve takes, each ended by a null pointer; they point into the image.
pub(crate) struct Pointers<'a> {
    image: &'a Image,
    arguments: Vec<*const c_char>,
    environment: Vec<*const c_char>,
}

impl Pointers<'_> {
    /// Executes the program, which is found from descriptor `folder` when its path is relative. Comes back only with what failed.
    /// Needs no memory and no lock.
    pub(crate) fn execute(&self, folder: libc::c_int) -> io::Error {
        let (program, arguments, environment) = (self.image.program.as_ptr(), self.arguments.as_ptr(), self.environment.as_ptr());
        // SAFETY: a string and two lists of strings with their ends, all of them borrowed by `self`.
        unsafe { libc::syscall(libc::SYS_execveat, folder, program, arguments, environment, 0) };
        io::Error::last_os_error()
    }
}
