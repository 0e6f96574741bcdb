//! MQTT as its clients speak it: mosquitto's, paho's for Python and rumqttc for Rust.
//!
//! - `mosquitto`, `paho`, `rumqttc`: those clients
//! - `fanout`: one message to very many
//! - `silence`: keep alive, with clients that hang

mod fanout;
mod mosquitto;
mod paho;
mod rumqttc;
mod silence;

pub(crate) const ARGS: &[&str] = &[
    "--address",
    "10.77.0.1/16",
    "fd77::1/64",
    "--listen",
    "mqtt://10.77.0.1:1883",
    "mqtt://[fd77::1]:1883",
];
