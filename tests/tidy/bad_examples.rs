//! What the rules are for: small pieces that break them, beside ones that only look like it.

use crate::documents::{architecture, dependencies, links};
use crate::root;
use crate::rules::{RULES, Violation, calls, layers, length, smoltcp, unsafe_code};
use crate::source::{code, without_tests};

/// The lines that a rule finds in a piece of source.
fn lines(rule: fn(&str, &str) -> Vec<Violation>, path: &str, text: &str) -> Vec<usize> {
    rule(path, text).into_iter().map(|violation| violation.line).collect()
}

const NONE: [usize; 0] = [];

#[test]
fn an_import_from_above_is_found() {
    let upward = "use crate::time::Instant;\n\npub(crate) use crate::engine::Engine;\n";
    assert_eq!(lines(layers, "src/tcp/parked.rs", upward), [3]);
    assert_eq!(lines(layers, "src/tcp/mod.rs", "fn f() { crate :: x; crate::link::go() }"), [1]);
    assert_eq!(lines(layers, "src/shard/mod.rs", upward), NONE);

    let group =
        "use crate::{\n    conn::{Slab, engine},\n    engine::{self, Engine},\n    time,\n};\n";
    assert_eq!(lines(layers, "src/conn/slab.rs", group), [3]);
    assert_eq!(lines(layers, "src/link/memory.rs", group), [2, 3], "a link sees only frames");
    assert_eq!(lines(layers, "src/sim/mod.rs", "use crate::shard::Shard;"), [1]);
    assert_eq!(lines(layers, "src/shard/mod.rs", "use crate::load::Load;"), [1]);
    assert_eq!(lines(layers, "src/load/mod.rs", "use crate::shard::Shard;"), NONE);
    assert_eq!(lines(layers, "src/helper.rs", ""), [1], "a module in no layer");
    assert_eq!(lines(layers, "src/lib.rs", "use crate::engine;"), NONE);

    let violation = &layers("src/tcp/parked.rs", upward)[0];
    assert_eq!(violation.rule, "`tcp` must not import `engine`: see LAYERS in the tidy test");
}

#[test]
fn what_is_not_code_is_not_held_to_the_rules() {
    let text = "//! See [`crate::engine`].\n/* crate::engine /* nested */ unsafe */\n\
                const A: &str = \"crate::engine \\\" unsafe\";\n\
                const B: &str = r#\"unsafe \" crate::engine\"#;\n\
                const C: char = '\"'; fn f<'a>(x: &'a u8) -> &'a u8 { x }\n\
                mycrate::engine::go();\n";
    for rule in RULES {
        assert_eq!(lines(rule, "src/wire/mod.rs", text), NONE);
    }
    // What comes after the last literal is code again.
    let text = format!("{text}const D: char = '\\'';\nuse crate::engine::Engine;\n");
    assert_eq!(lines(layers, "src/wire/mod.rs", &text), [8]);
    assert_eq!(code("a \"b\nc\" d"), "a   \n   d", "lines keep their numbers");
}

#[test]
fn smoltcp_outside_of_its_places_is_found() {
    let stack = "use smoltcp::iface::Interface;\nuse smoltcp::{socket::tcp, wire::TcpPacket};\n";
    assert_eq!(lines(smoltcp, "src/tcp/promoted.rs", stack), NONE);
    assert_eq!(lines(smoltcp, "src/tcp/promoted/socket.rs", stack), NONE);
    assert_eq!(lines(smoltcp, "src/engine/control.rs", stack), NONE);
    assert_eq!(lines(smoltcp, "src/sim/reference.rs", stack), NONE);
    assert_eq!(lines(smoltcp, "src/sim/scripted.rs", stack), [1, 2, 2]);
    assert_eq!(lines(smoltcp, "src/wire/mod.rs", stack), [1, 2]);
    assert_eq!(lines(smoltcp, "src/tcp/parked.rs", stack), [1, 2, 2]);
    assert_eq!(lines(smoltcp, "src/wireless.rs", "use smoltcp::wire::X;"), [1]);
    assert_eq!(lines(smoltcp, "src/engine/neighbor.rs", "use smoltcp::wire::X;"), [1]);
}

#[test]
fn a_long_file_is_found() {
    assert_eq!(lines(length, "src/tcp/mod.rs", &"\n".repeat(501)), [501]);
    assert_eq!(lines(length, "src/tcp/mod.rs", &"\n".repeat(500)), NONE);
}

#[test]
fn banned_calls_are_found() {
    let clock = "let a = std::time::Instant::now();\nlet b = SystemTime::now();\n";
    assert_eq!(lines(calls, "src/engine/mod.rs", clock), [1, 2]);
    assert_eq!(lines(calls, "src/cli/serve.rs", clock), [1, 2]);
    assert_eq!(lines(calls, "src/shard/clock.rs", clock), NONE);
    assert_eq!(lines(calls, "src/engine/mod.rs", "Instant::nowhere()"), NONE);

    let io = "use std::{fs, io};\nstd::thread::spawn(f);\nuse std::net::{IpAddr, TcpStream};\n\
              println!();\neprintln!(\"x\");\nuse std::net::UdpSocket;\n";
    let mut found = lines(calls, "src/service/echo.rs", io);
    found.sort_unstable();
    assert_eq!(found, [1, 2, 3, 4, 5, 6]);
    assert_eq!(lines(calls, "src/link/af_xdp/socket.rs", io), NONE);

    let tests = "fn f() {}\n#[cfg(test)]\nmod tests {\n    use std::fs;\n}\nuse std::thread;\n";
    assert_eq!(lines(calls, "src/conn/slab.rs", tests), [6]);
    assert_eq!(lines(calls, "src/conn/slab/tests.rs", io), NONE);
    assert_eq!(without_tests("#[cfg(test)]\nmod tests;\nx"), "\n\nx");
}

#[test]
fn unsafe_code_elsewhere_is_found() {
    let text =
        "#![deny(unsafe_code)]\n// SAFETY: unsafe\nunsafe { f() }\nunsafe impl Send for X {}\n";
    assert_eq!(lines(unsafe_code, "src/engine/mod.rs", text), [3, 4]);
    assert_eq!(lines(unsafe_code, "src/conn/index.rs", text), [3, 4]);
    assert_eq!(lines(unsafe_code, "src/link/af_xdp/umem.rs", text), NONE);
}

#[test]
fn links_that_lead_nowhere_are_found() {
    let text = "[a](../Cargo.toml) and [b](gone.md#part), [c](#part), [d](https://example.org/x)\n\
                ```\n[e](gone.md)\n```\n`[f](gone.md)` [`g`](gone.rs)\n[h]: ../gone.md\n\
                [i](../src \"title\")\n";
    let found: Vec<usize> =
        links(root(), "docs/x.md", text).into_iter().map(|violation| violation.line).collect();
    assert_eq!(found, [1, 5, 6]);
}

#[test]
fn a_long_architecture_is_found() {
    assert_eq!(architecture("ARCHITECTURE.md", &"\n".repeat(301)).len(), 1);
    assert_eq!(architecture("ARCHITECTURE.md", &"\n".repeat(300)).len(), 0);
    assert_eq!(architecture("README.md", &"\n".repeat(301)).len(), 0);
}

#[test]
fn a_dependency_without_a_reason_is_found() {
    let manifest = "[package]\nname = \"x\"\n[dependencies]\naya = \"0.14\"\nserde = { version = \
                    \"1\" }\n# old = 1\n[target.x.dev-dependencies]\nproptest.workspace = true\n\
                    [dependencies.libc]\nversion = \"0.2\"\n[profile.release]\nlto = true\n";
    let found = |reasons: &str| -> Vec<usize> {
        dependencies(manifest, reasons).into_iter().map(|violation| violation.line).collect()
    };
    assert_eq!(found("| `aya` | why |\n`serde`"), [5, 8, 9]);
    assert_eq!(found("| `aya` | | `serde` | | `proptest` | | `libc` |"), NONE);
}
