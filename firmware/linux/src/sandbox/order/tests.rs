use proptest::prelude::*;

use super::*;

fn bind(source: &str, target: &str) -> Mount {
    Mount::Bind { source: source.into(), target: target.into(), access: Access::default() }
}

fn order() -> Order {
    Order {
        image: Image { program: c"/usr/libexec/service".into(), arguments: vec![c"service".into(), c"-x".into()], environment: vec![] },
        privileges: Privileges {
            rlimits: vec![(7, 1024)],
            user: Some(User { uid: 50, gid: 50 }),
            groups: vec![5],
            capabilities: Some(Capabilities(1 << 10)),
            no_new_privs: true,
        },
        sandbox: Sandbox {
            namespaces: Namespaces { pid: true, ipc: false, uts: true },
            mounts: vec![
                bind("/run/x", "/run/x"),
                Mount::Tmpfs { target: "/tmp".into(), bytes: 1 << 20, mode: 0o1777 },
                Mount::Proc { target: "/proc".into() },
            ],
            directory: "/".into(),
            umask: 0o077,
            calls: Some(Calls {
                allowed: vec![Call { number: 1, conditions: vec![Condition { argument: 2, mask: 4, value: 0 }] }],
                otherwise: Otherwise::Refuse(38),
            }),
            launcher: PathBuf::new(),
        },
    }
}

#[track_caller]
fn check(change: impl FnOnce(&mut Order), expect: Result<(), &str>) {
    let mut order = order();
    change(&mut order);
    let encoded = order.encode();
    match expect {
        Ok(()) => assert_eq!(encoded.and_then(|bytes| Order::decode(&bytes)), Ok(order)),
        Err(text) => assert_eq!(encoded.expect_err("against the rules").to_string(), text),
    }
}

#[test]
fn what_is_written_is_read() {
    check(|_| {}, Ok(()));
    check(|order| order.sandbox.calls = None, Ok(()));
    check(|order| order.privileges = Privileges::default(), Ok(()));
    check(|order| order.sandbox.mounts.clear(), Ok(()));
}

#[test]
fn rules() {
    let with = |mount: Mount| move |order: &mut Order| order.sandbox.mounts.push(mount);
    check(with(bind("/a", "/tmp/a")), Ok(()));
    check(with(bind("/a", "/run/xy")), Ok(()));
    check(with(bind("/a", "/")), Err("mount on /: the root is there already"));
    check(with(bind("/a", "/tmp")), Err("mount on /tmp: something is mounted there already"));
    let within = "its mount point would be made in what an earlier mount brought";
    check(with(bind("/a", "/run/x/a")), Err(&format!("mount on /run/x/a: {within}")));
    check(with(bind("/a", "/proc/a")), Err(&format!("mount on /proc/a: {within}")));
    check(with(bind("/proc/1", "/a")), Err("mount on /a: its source is where the root is built"));
    for wrong in ["", "a", "/a/../b", "/a/./b", "/a/", "//a", "/.."] {
        check(with(bind("/a", wrong)), Err(&format!("mount point {wrong} is not absolute and plain")));
        check(with(bind(wrong, "/a")), Err(&format!("source {wrong} is not absolute and plain")));
    }
    check(|order| order.sandbox.directory = "tmp".into(), Err("the working directory tmp is not absolute and plain"));
    check(|order| order.image.program = c"service".into(), Err("the program service is not absolute and plain"));
    check(|order| order.sandbox.directory = "/a\0".into(), Err("the working directory holds a zero byte"));
    let call = |number, argument| {
        let conditions = vec![Condition { argument, mask: 0, value: 0 }];
        move |order: &mut Order| {
            order.sandbox.calls = Some(Calls { allowed: vec![Call { number, conditions }], otherwise: Otherwise::Kill })
        }
    };
    check(call(511, 5), Ok(()));
    check(call(CALL_NUMBERS, 0), Err("system call: 1073741824 means nothing"));
    check(call(0, 6), Err("argument of a condition: 6 means nothing"));
    let never = Call { number: 0, conditions: vec![Condition { argument: 0, mask: 2, value: 3 }] };
    let never = Calls { allowed: vec![never], otherwise: Otherwise::Kill };
    check(|order| order.sandbox.calls = Some(never), Err("value of a condition: 3 means nothing"));
}

#[test]
fn limits() {
    check(|order| order.image.arguments = vec![c"a".into(); MAX_WORDS], Ok(()));
    check(|order| order.image.arguments = vec![c"a".into(); MAX_WORDS + 1], Err("arguments: 65 is more than the limit of 64"));
    let long = |count| CString::new(vec![b'a'; count]).expect("no zero");
    check(|order| order.image.environment = vec![long(MAX_TEXT)], Ok(()));
    check(|order| order.image.environment = vec![long(MAX_TEXT + 1)], Err("environment: 4097 is more than the limit of 4096"));
    check(|order| order.image.environment = vec![long(70_000)], Err("environment: 70000 is more than the limit of 4096"));
    check(|order| order.privileges.groups = vec![1; MAX_GROUPS + 1], Err("groups: 33 is more than the limit of 32"));
    let encoded = Order { image: Image { environment: vec![long(MAX_TEXT); 9], ..order().image }, ..order() }.encode();
    assert!(matches!(encoded, Err(OrderError::TooMuch { field: "the order", limit: MAX, .. })), "{encoded:?}");
    assert!(matches!(Order::decode(&vec![0; MAX + 1]), Err(OrderError::TooMuch { field: "the order", .. })));
}

#[test]
fn half_an_order_is_none() {
    let whole = order().encode().expect("encoded");
    for end in 0..whole.len() {
        let read = Order::decode(whole.get(..end).expect("within"));
        assert!(matches!(read, Err(OrderError::Truncated { .. })), "{end} bytes: {read:?}");
    }
    let longer = [whole.as_slice(), &[0]].concat();
    assert_eq!(Order::decode(&longer), Err(OrderError::Trailing { bytes: 1 }));
}

fn words() -> impl Strategy<Value = Vec<CString>> {
    prop::collection::vec(prop::collection::vec(1_u8.., 0..20).prop_map(|text| CString::new(text).expect("no zero")), 0..5)
}

fn conditions() -> impl Strategy<Value = Vec<Condition>> {
    let condition = (0_u8..6, any::<u64>(), any::<u64>());
    prop::collection::vec(
        condition.prop_map(|(argument, mask, value)| Condition { argument, mask, value: value & mask }),
        0..MAX_CONDITIONS,
    )
}

fn calls() -> impl Strategy<Value = Calls> {
    let call = (0..CALL_NUMBERS, conditions()).prop_map(|(number, conditions)| Call { number, conditions });
    let otherwise = prop_oneof![Just(Otherwise::Kill), any::<u16>().prop_map(Otherwise::Refuse)];
    (prop::collection::vec(call, 0..80), otherwise).prop_map(|(allowed, otherwise)| Calls { allowed, otherwise })
}

fn mounts() -> impl Strategy<Value = Vec<Mount>> {
    let mount = prop_oneof![
        ("/[a-z]{1,9}", any::<(bool, bool, bool)>()).prop_map(|(source, (write, execute, devices))| {
            let access = Access { write, execute, devices };
            Mount::Bind { source: format!("/x{source}").into(), target: "/".into(), access }
        }),
        any::<(u64, u32)>().prop_map(|(bytes, mode)| Mount::Tmpfs { target: "/".into(), bytes, mode }),
        Just(Mount::Proc { target: "/".into() }),
    ];
    prop::collection::vec(mount, 0..9).prop_map(|mut mounts| {
        // Each its own target.
        for (number, mount) in mounts.iter_mut().enumerate() {
            let (Mount::Bind { target, .. } | Mount::Tmpfs { target, .. } | Mount::Proc { target }) = mount;
            *target = format!("/m{number}/x").into();
        }
        mounts
    })
}

fn privileges() -> impl Strategy<Value = Privileges> {
    let lists = (prop::collection::vec(any::<(u32, u64)>(), 0..MAX_RLIMITS), prop::collection::vec(any::<u32>(), 0..MAX_GROUPS));
    (lists, any::<Option<(u32, u32)>>(), any::<Option<u64>>(), any::<bool>()).prop_map(|((rlimits, groups), user, kept, no_new_privs)| {
        let user = user.map(|(uid, gid)| User { uid, gid });
        Privileges { rlimits, user, groups, capabilities: kept.map(Capabilities), no_new_privs }
    })
}

proptest! {
    #[test]
    fn any_order_survives(
        (arguments, environment, privileges) in (words(), words(), privileges()),
        (pid, ipc, uts) in any::<(bool, bool, bool)>(),
        (mounts, calls, umask) in (mounts(), prop::option::of(calls()), any::<u32>()),
    ) {
        let image = Image { program: c"/p".into(), arguments, environment };
        let sandbox = Sandbox { namespaces: Namespaces { pid, ipc, uts }, mounts, directory: "/d".into(), umask, calls, ..Sandbox::default() };
        let order = Order { image, privileges, sandbox };
        prop_assert_eq!(order.encode().and_then(|bytes| Order::decode(&bytes)), Ok(order));
    }

    #[test]
    fn garbage_is_refused_or_an_order(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        if let Ok(order) = Order::decode(&bytes) {
            prop_assert_eq!(order.encode(), Ok(bytes));
        }
    }

    /// Damage to a real one gets deeper than noise does.
    #[test]
    fn damage_is_refused_or_an_order(at in any::<prop::sample::Index>(), to in any::<u8>()) {
        let mut bytes = order().encode().expect("encoded");
        let at = at.index(bytes.len());
        bytes[at] = to;
        if let Ok(order) = Order::decode(&bytes) {
            prop_assert_eq!(order.encode(), Ok(bytes));
        }
    }
}
