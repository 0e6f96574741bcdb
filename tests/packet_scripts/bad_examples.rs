//! That the runner finds what is wrong: scripts that must fail, and where.

use crate::packet::Family;
use crate::{parser, report, run};

const OPEN: &str = "\
# RFC 9293 section 3.5: a script that is wrong
service echo
+0 < S 0:0(0) win 65535 <mss 1460>
+0 > S. 0:0(0) ack 1 win 2920 <mss own>
+0 < . 1:1(0) ack 1
";

/// Runs [`OPEN`] and then `lines`; returns the number of the line that fails, counted from the first
/// of `lines`, and the report. 0 and nothing if none does.
fn failure(family: Family, lines: &str) -> (usize, String) {
    let script = parser::parse("bad", &format!("{OPEN}{lines}")).expect("well-formed");
    match run::run(&script, family) {
        Ok(()) => (0, String::new()),
        Err(failure) => {
            let line = failure.line.saturating_sub(OPEN.lines().count());
            (line, report("bad", family, &failure))
        }
    }
}

#[test]
fn what_is_not_as_said_is_found() {
    let cases = [
        // (the lines, which of them fails, what is said about it)
        ("+0 > . 1:1(0) ack 1", 1, "nothing was sent"),
        ("+0 < P. 1:11(10) ack 1\n+1 state established", 2, "unexpected"),
        ("+0 < P. 1:11(10) ack 1", 1, "unexpected"),
        ("+0 < P. 1:11(10) ack 1\n+0 > . 1:11(10) ack 11", 2, "the flags"),
        ("+0 < P. 1:11(10) ack 1\n+0 > P. 2:12(10) ack 11", 2, "the sequence numbers"),
        ("+0 < P. 1:11(10) ack 1\n+0 > P. 1:12(11) ack 11", 2, "the sequence numbers"),
        ("+0 < P. 1:11(10) ack 1\n+0 > P. 1:11(10) ack 12", 2, "the acknowledgment"),
        ("+0 < P. 1:11(10) ack 1\n+0 > P. 1:11(10) ack 11 win 1", 2, "the window"),
        ("+0 < P. 1:11(10) ack 1\n+0 > P. 1:11(10) ack 11 <mss 1>", 2, "the options"),
        ("+0 < P. 1:4(3) ack 1\n+0 > P. 1:4(3) ack 4 \"abc\"", 2, "the payload"),
        ("+0 < P. 1:4(3) ack 1\n+0 > P. 1:4(3) ack 4 sport 8", 2, "the ports"),
        ("+0 < P. 1:4(3) ack 1\n+0 [2] > P. 1:4(3) ack 4", 2, "the ports"),
        ("+0 < P. 1:4(3) ack 1\n+0 > P. 1:4(3) ack 4\n+0.9 > P. 1:4(3) ack 4", 3, "nothing"),
        ("+0 < P. 1:4(3) ack 1\n+0 > P. 1:4(3) ack 4\n+1.1 > P. 1:4(3) ack 4", 3, "too early"),
        ("+0 < P. 1:4(3) ack 1\n+0 > P. 1:4(3) ack 4\n+2", 3, "too early"),
        ("+0 < R 1:1(0)", 1, "ended with ResetByPeer"),
        ("+0 < R 1:1(0)\n+0 closed refused", 2, "ended with ResetByPeer"),
        ("+0 closed reset-by-peer", 1, "has not ended"),
        ("+0 state none", 1, "established"),
        ("+0 count accepted 2", 1, "it is 1"),
        ("+0 drops bad_ack 1", 1, "it is 0"),
        ("+0 received 1", 1, "0 bytes were received"),
        ("+0 send 10 busy\n+0 > P. 1:11(10) ack 1", 1, "it is Ok"),
        ("+0 close gone\n+0 > F. 1:1(0) ack 1", 1, "it is Ok"),
        ("+0 [2] close", 1, "never open"),
        ("+0 connect to 10.77.0.9 refused", 1, "it is"),
        (
            "+0 < S 9:9(0)\n+0 > . 1:1(0) ack 1\n+0 < R 1:1(0)\n+0 closed reset-by-peer\n\
          +0 < S 9:9(0)\n+0 > S. 0:0(0) ack 10 <mss own> isn +7",
            6,
            "the initial sequence number",
        ),
    ];
    for (lines, line, what) in cases {
        let (found, report) = failure(Family::Ipv4, lines);
        assert_eq!(found, line, "{lines}\n{report}");
        assert!(report.contains(what), "'{what}' is said about\n{lines}\n{report}");
    }
}

#[test]
fn a_report_names_the_script_and_the_command_that_repeats_it() {
    let (_, report) = failure(Family::Ipv6, "+0 > . 1:1(0) ack 1");
    assert!(report.starts_with("tests/pkt/bad.pkt:6 over ipv6: +0 > . 1:1(0) ack 1\n"), "{report}");
    assert!(report.contains("> S. 0:0(0) ack 1 win 2920 <mss 1440>"), "{report}");
    assert!(report.contains("TENMIL_SCRIPT=bad cargo test --test packet_scripts"), "{report}");
}

#[test]
fn what_is_echoed_must_be_what_was_sent() {
    // The stack echoes bytes 1 to 10; the peer then claims that it had sent others under numbers that
    // are not echoed yet, so the pattern does not hold for them.
    let (line, report) = failure(
        Family::Ipv4,
        "+0 < P. 1:11(10) ack 1 \"abcdefghij\"\n+0 > P. 1:11(10) ack 11\n\
         +0 < P. 21:31(10) ack 11 \"klmnopqrst\"\n+0 > . 11:11(0) ack 11\n\
         +0 < P. 11:31(20) ack 11\n+0 > P. 11:31(20) ack 31",
    );
    assert_eq!(line, 6, "{report}");
    assert!(report.contains("byte 21 of the payload"), "{report}");
}

#[test]
fn malformed_scripts_are_refused_with_their_line() {
    let title = "# RFC 9293 section 3.5: a title\n";
    let cases = [
        ("service echo\n", 1),
        ("# a title without its source\n", 1),
        ("# RFC 9293 section 3.5:\n", 1),
        (&format!("{title}service nothing"), 2),
        (&format!("{title}\nlimit 5"), 3),
        (&format!("{title}+0 < S 0:0(0)\nservice echo"), 3),
        (&format!("{title}keepalive 0 1 1"), 2),
        (&format!("{title}+x < S 0:0(0)"), 2),
        (&format!("{title}+0 < Q 0:0(0)"), 2),
        (&format!("{title}+0 < S 0:1(0)"), 2),
        (&format!("{title}+0 < S 0:0"), 2),
        (&format!("{title}+0 < S 0:0(0) <mss>"), 2),
        (&format!("{title}+0 < S 0:0(0) <mss 1"), 2),
        (&format!("{title}+0 < P. 1:3(2) \"abc\""), 2),
        (&format!("{title}+0 < P. 1:3(2) \"ab"), 2),
        (&format!("{title}+0 > . 1:1(0) ack 1 bad-checksum"), 2),
        (&format!("{title}+0 < . 1:1(0) isn higher"), 2),
        (&format!("{title}+0 closed tomorrow"), 2),
        (&format!("{title}+0 count sheep 3"), 2),
        (&format!("{title}+0 state done"), 2),
        (&format!("{title}+0 state none none"), 2),
        (&format!("{title}+0 < icmp too-big seq 1"), 2),
    ];
    for (text, line) in cases {
        let malformed = parser::parse("bad", text).expect_err(text);
        assert_eq!(malformed.line, line, "{text}: {}", malformed.what);
    }
}
