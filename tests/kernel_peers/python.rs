//! Python in the clients' namespace, and what its scripts print.

use crate::network::Network;

/// The Python that Debian's packages are for, whichever other one is in the path.
pub(crate) const PYTHON: &str = "/usr/bin/python3";

/// Runs a script in the clients' namespace; returns what it printed.
#[track_caller]
pub(crate) fn python(network: &Network, script: &str, args: &[&str]) -> String {
    let output = network.run(&[&[PYTHON, "-c", script], args].concat(), b"");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Holds what a script printed to: a client that never answers was given up after three periods of half a
/// second and two heartbeats, and one that answers got one in each period, for five of them.
#[track_caller]
pub(crate) fn assert_silence(said: &str) {
    let mut words = said.split_whitespace().map(|word| word.parse::<f64>().expect("a number"));
    let [silent, asked, answered] = [(); 3].map(|()| words.next().expect("three"));
    assert!((1.4..2.5).contains(&silent), "three periods of 500 ms: {said}");
    assert!(asked == 2.0 && (4.0..=6.0).contains(&answered), "{said}");
}
