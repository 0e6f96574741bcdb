//! rumqttc's client for Rust, in both versions, from the test's own process.

use std::time::Duration;

use rumqttc::v5::mqttbytes::QoS as QoS5;
use rumqttc::v5::mqttbytes::v5::Packet as Packet5;
use rumqttc::{Event, LastWill, MqttOptions, Packet, QoS};

use super::ARGS;
use crate::network::Network;
use crate::server::Server;

const LIMIT: Duration = Duration::from_secs(20);

#[test]
fn rumqttc_publishes_to_itself_and_dies() {
    let test = "rumqttc_publishes_to_itself_and_dies";
    let Some(network) = Network::make(test, &[]) else { return };
    let mut server = Server::start_with(&network, ARGS);
    network.in_client(|| {
        let options = |name: &str| {
            let mut options = MqttOptions::new(name, "10.77.0.1", 1883);
            options.set_keep_alive(Duration::from_secs(5));
            options
        };
        let mut mortal_options = options("mortal");
        mortal_options.set_last_will(LastWill::new("will", "died", QoS::AtLeastOnce, true));
        let (mortal, mut mortal_events) = rumqttc::Client::new(mortal_options, 100);
        let (client, mut events) = rumqttc::Client::new(options("heir"), 100);
        client.subscribe("will", QoS::AtLeastOnce).expect("room in its queue");
        client.subscribe("own/#", QoS::AtMostOnce).expect("room in its queue");
        let mut acknowledged = 0;
        let mut wait_for = |is: &dyn Fn(&Packet) -> bool| {
            loop {
                match events.recv_timeout(LIMIT).expect("in time").expect("a connection") {
                    Event::Incoming(packet) if is(&packet) => return packet,
                    Event::Incoming(Packet::PubAck(_)) => acknowledged += 1,
                    _ => {}
                }
            }
        };
        for _ in 0..2 {
            wait_for(&|packet| matches!(packet, Packet::SubAck(_)));
        }
        for n in 0..200 {
            let text = format!("message {n}");
            client.publish("own/x", QoS::AtLeastOnce, false, text.clone()).expect("room");
            let packet = wait_for(&|packet| matches!(packet, Packet::Publish(_)));
            let Packet::Publish(publish) = packet else { panic!("a PUBLISH") };
            assert_eq!((publish.topic.as_str(), &publish.payload[..]), ("own/x", text.as_bytes()));
        }
        loop {
            let event = mortal_events.recv_timeout(LIMIT).expect("in time").expect("a connection");
            if let Event::Incoming(Packet::ConnAck(connack)) = event {
                assert!(!connack.session_present);
                break;
            }
        }
        drop((mortal, mortal_events));
        let packet = wait_for(&|packet| matches!(packet, Packet::Publish(_)));
        let Packet::Publish(publish) = packet else { panic!("a PUBLISH") };
        assert_eq!((publish.topic.as_str(), &publish.payload[..]), ("will", &b"died"[..]));
        client.disconnect().expect("room in its queue");
        while let Ok(Ok(_)) = events.recv_timeout(LIMIT) {}
        assert!(acknowledged > 190, "what is acknowledged is counted: {acknowledged}");
    });
    server.wait_until("all have gone", |status| status.established == 0);
    server.stop();
}

#[test]
fn rumqttc_speaks_version_5() {
    let Some(network) = Network::make("rumqttc_speaks_version_5", &[]) else { return };
    let server = Server::start_with(&network, ARGS);
    network.in_client(|| {
        let mut options = rumqttc::v5::MqttOptions::new("five", "10.77.0.1", 1883);
        options.set_keep_alive(Duration::from_secs(5));
        let (client, mut events) = rumqttc::v5::Client::new(options, 100);
        client.subscribe("own/#", QoS5::AtLeastOnce).expect("room in its queue");
        let mut wait_for = |is: &dyn Fn(&Packet5) -> bool| {
            loop {
                let event = events.recv_timeout(LIMIT).expect("in time").expect("a connection");
                if let rumqttc::v5::Event::Incoming(packet) = event
                    && is(&packet)
                {
                    return packet;
                }
            }
        };
        let packet = wait_for(&|packet| matches!(packet, Packet5::ConnAck(_)));
        let Packet5::ConnAck(connack) = packet else { panic!("a CONNACK") };
        let properties = connack.properties.expect("what the server does not do");
        assert_eq!(properties.max_qos, Some(1));
        assert_eq!(properties.shared_subscription_available, Some(0));
        assert_eq!(properties.max_packet_size, Some(65_535));
        wait_for(&|packet| matches!(packet, Packet5::SubAck(_)));
        for n in 0..50 {
            let text = format!("message {n}");
            client.publish("own/x", QoS5::AtLeastOnce, false, text.clone()).expect("room");
            let packet = wait_for(&|packet| matches!(packet, Packet5::Publish(_)));
            let Packet5::Publish(publish) = packet else { panic!("a PUBLISH") };
            assert_eq!(&publish.payload[..], text.as_bytes());
        }
    });
    server.stop();
}
