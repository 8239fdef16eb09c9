//! Connections, streams, gossip, providers, bans.

use crate::nodes::{address, config, connect, run, start, until};
use alloy_primitives::B256;
use bmm_net::{
    NetConfig, NetError, NetLimits, Network, Offence, PeerEvent, Verdict,
    frame::{FrameError, read_frame, write_frame},
};
use std::time::Duration;

const ONE: B256 = B256::repeat_byte(1);
const WITHIN: Duration = Duration::from_mins(1);

#[test]
fn streams_carry_messages_both_ways_over_tcp_and_quic() {
    run(async {
        for listen in ["/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1"] {
            let server = NetConfig { listen: vec![listen.parse().expect("an address")], ..config(ONE) };
            let (server, client) = (Network::start(server).await.expect("a node"), start(ONE).await);
            let mut incoming = server.accept("/test/echo", 4, 8).expect("free");
            assert!(matches!(server.accept("/test/echo", 4, 8), Err(NetError::Taken(_))));
            tokio::spawn(async move {
                while let Some((_, mut stream)) = incoming.next().await {
                    let message = read_frame(&mut stream, 1 << 20, WITHIN).await.expect("a message");
                    write_frame(&mut stream, &message, WITHIN).await.expect("sent");
                }
            });
            connect(&client, &server).await;
            let mut stream = client.open_stream(server.peer_id(), "/test/echo").await.expect("a stream");
            let message = vec![7; 1 << 20];
            write_frame(&mut stream, &message, WITHIN).await.expect("sent");
            assert_eq!(read_frame(&mut stream, 1 << 20, WITHIN).await.expect("an answer"), message);
            let unknown = client.open_stream(server.peer_id(), "/test/other").await;
            assert!(matches!(unknown, Err(NetError::Unsupported { .. })), "{unknown:?}");
        }
    });
}

#[test]
fn a_peer_has_so_many_streams_and_no_more() {
    run(async {
        let (server, client) = (start(ONE).await, start(ONE).await);
        let mut incoming = server.accept("/test/hold", 2, 8).expect("free");
        connect(&client, &server).await;
        let mut held = Vec::new();
        let mut kept = Vec::new();
        for _ in 0..2 {
            held.push(client.open_stream(server.peer_id(), "/test/hold").await.expect("a stream"));
            write_frame(held.last_mut().expect("one"), b"here", WITHIN).await.expect("sent");
            kept.push(incoming.next().await.expect("a stream"));
        }
        let mut third = client.open_stream(server.peer_id(), "/test/hold").await.expect("agreed on");
        let _ = write_frame(&mut third, b"here", WITHIN).await;
        let answer = read_frame(&mut third, 9, WITHIN).await;
        assert!(matches!(answer, Err(FrameError::Ended | FrameError::Io(_))), "{answer:?}");
        kept.pop();
        let mut fourth = client.open_stream(server.peer_id(), "/test/hold").await.expect("a stream");
        write_frame(&mut fourth, b"here", WITHIN).await.expect("sent");
        assert!(incoming.next().await.is_some());
    });
}

#[test]
fn gossip_goes_on_only_when_it_is_accepted() {
    run(async {
        let (a, b, c) = (start(ONE).await, start(ONE).await, start(ONE).await);
        connect(&a, &b).await;
        connect(&c, &b).await;
        let (_a, mut heard_b, mut heard_c) = (
            a.subscribe("news").await.expect("subscribed"),
            b.subscribe("news").await.expect("subscribed"),
            c.subscribe("news").await.expect("subscribed"),
        );
        let judge = |data: &[u8]| if data.starts_with(b"good") { Verdict::Accept } else { Verdict::Reject };
        let judging = b.clone();
        tokio::spawn(async move {
            while let Some(gossip) = heard_b.recv().await {
                judging.judge(&gossip, judge(&gossip.data)).await.expect("judged");
            }
        });
        let sender = a.clone();
        tokio::spawn(async move {
            for n in 0..u32::MAX {
                for word in ["bad", "good"] {
                    let _ = sender.publish("news", format!("{word} {n}").into_bytes()).await;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
        for _ in 0..5 {
            let gossip = heard_c.recv().await.expect("gossip");
            assert!(gossip.data.starts_with(b"good"), "only what was accepted");
            assert_eq!(gossip.from, b.peer_id());
            c.judge(&gossip, Verdict::Accept).await.expect("judged");
        }
    });
}

#[test]
fn a_flood_of_gossip_is_a_ban() {
    run(async {
        let limits = NetLimits { gossip_per_sec: 2, ..NetLimits::DEFAULT };
        let (calm, loud) =
            (Network::start(NetConfig { limits, ..config(ONE) }).await.expect("a node"), start(ONE).await);
        let _heard = calm.subscribe("news").await.expect("subscribed");
        let _own = loud.subscribe("news").await.expect("subscribed");
        connect(&loud, &calm).await;
        let sender = loud.clone();
        tokio::spawn(async move {
            for n in 0..u32::MAX {
                let _ = sender.publish("news", n.to_be_bytes().to_vec()).await;
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        until("the loud one is banned and gone", || {
            calm.bans().iter().any(|ban| ban.peer == loud.peer_id()) && calm.peers().is_empty()
        })
        .await;
    });
}

#[test]
fn nodes_of_another_chain_are_left() {
    run(async {
        let (one, other) = (start(ONE).await, start(B256::repeat_byte(2)).await);
        let _ = one.dial(address(&other)).await;
        until("left", || one.peers().is_empty() && other.peers().is_empty()).await;
        let third = start(ONE).await;
        connect(&third, &one).await;
        assert_eq!(one.peers().len(), 1);
    });
}

#[test]
fn a_ban_closes_and_refuses_until_it_is_lifted_and_outlives_a_restart() {
    run(async {
        let folder = tempfile::tempdir().expect("folder");
        let settings = || NetConfig { folder: Some(folder.path().to_owned()), ..config(ONE) };
        let (node, bad) = (Network::start(settings()).await.expect("a node"), start(ONE).await);
        let mut news = node.events();
        connect(&bad, &node).await;
        assert_eq!(news.recv().await.expect("news"), PeerEvent::Joined(bad.peer_id()));
        node.report(bad.peer_id(), Offence::Invalid);
        assert_eq!(news.recv().await.expect("news"), PeerEvent::Left(bad.peer_id()));
        assert!(matches!(node.open_stream(bad.peer_id(), "/test/echo").await, Err(NetError::Banned(_))));
        let me = node.peer_id();
        node.shutdown().await;
        assert!(matches!(node.provide(b"key").await, Err(NetError::Closed)));

        let node = Network::start(settings()).await.expect("a node");
        assert_eq!(node.peer_id(), me, "the key was kept");
        assert_eq!(node.bans().len(), 1, "and the ban");
        assert!(node.dial(address(&bad)).await.is_err());
        assert!(node.lift_ban(bad.peer_id()));
        connect(&node, &bad).await;
    });
}

#[test]
fn nodes_find_each_other_again_and_by_others() {
    run(async {
        let first = start(ONE).await;
        let settings = || NetConfig { bootstrap: vec![address(&first)], ..config(ONE) };
        let second = Network::start(settings()).await.expect("a node");
        let third = Network::start(settings()).await.expect("a node");
        until("all joined", || first.peers().len() == 2).await;
        first.disconnect(second.peer_id()).await.expect("asked");
        until("back again", || second.peers().iter().any(|info| info.peer == first.peer_id())).await;
        third.provide(b"a key of some content").await.expect("told");
        let mut found = Vec::new();
        while found.is_empty() {
            found = second.find_providers(b"a key of some content", 3).await.expect("an answer");
        }
        assert_eq!(found, [third.peer_id()]);
        let _incoming = third.accept("/test/content", 1, 1).expect("free");
        second.open_stream(third.peer_id(), "/test/content").await.expect("its addresses came along");
    });
}

#[test]
fn what_cannot_be_listened_at_is_named() {
    run(async {
        let taken = start(ONE).await;
        let listen = taken.listen_addrs();
        let error = Network::start(NetConfig { listen, ..config(ONE) }).await.err().expect("the port is taken");
        assert!(error.to_string().contains("/ip4/127.0.0.1/tcp/"), "{error}");
        let bootstrap = vec!["/ip4/127.0.0.1/tcp/1".parse().expect("an address")];
        let error = Network::start(NetConfig { bootstrap, ..config(ONE) }).await.err().expect("no peer");
        assert!(matches!(error, NetError::NoPeer(_)));
    });
}
