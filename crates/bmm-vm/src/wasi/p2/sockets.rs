//! `wasi:sockets`: all of it can be imported, and nothing opens. Whoever asks for a socket or an address is denied it.

use wasmtime::component::{Linker, Resource, ResourceType};

use super::types::{
    IncomingDatagrams, IpAddressFamily, Network, NetworkError, OutgoingDatagrams, ResolvedAddresses, TcpSocket,
    UdpSocket,
};
use super::{Task, interface, sure};
use crate::state::TaskState;

/// Functions of things that never exist, by interface and resource.
const UNREACHABLE: [(&str, &str, &[&str]); 5] = [
    ("wasi:sockets/ip-name-lookup", "resolve-address-stream", &["resolve-next-address", "subscribe"]),
    ("wasi:sockets/udp", "incoming-datagram-stream", &["receive", "subscribe"]),
    ("wasi:sockets/udp", "outgoing-datagram-stream", &["check-send", "send", "subscribe"]),
    (
        "wasi:sockets/udp",
        "udp-socket",
        &[
            "start-bind",
            "finish-bind",
            "stream",
            "local-address",
            "remote-address",
            "address-family",
            "unicast-hop-limit",
            "set-unicast-hop-limit",
            "receive-buffer-size",
            "set-receive-buffer-size",
            "send-buffer-size",
            "set-send-buffer-size",
            "subscribe",
        ],
    ),
    (
        "wasi:sockets/tcp",
        "tcp-socket",
        &[
            "start-bind",
            "finish-bind",
            "start-connect",
            "finish-connect",
            "start-listen",
            "finish-listen",
            "accept",
            "local-address",
            "remote-address",
            "is-listening",
            "address-family",
            "set-listen-backlog-size",
            "keep-alive-enabled",
            "set-keep-alive-enabled",
            "keep-alive-idle-time",
            "set-keep-alive-idle-time",
            "keep-alive-interval",
            "set-keep-alive-interval",
            "keep-alive-count",
            "set-keep-alive-count",
            "hop-limit",
            "set-hop-limit",
            "receive-buffer-size",
            "set-receive-buffer-size",
            "send-buffer-size",
            "set-send-buffer-size",
            "subscribe",
            "shutdown",
        ],
    ),
];

/// Is the answer to whoever asks for a thing `T` of the network.
fn denied<T: 'static>() -> Result<Resource<T>, NetworkError> {
    Err(NetworkError::AccessDenied)
}

/// Defines the package.
pub(super) fn link(linker: &mut Linker<TaskState>) -> wasmtime::Result<()> {
    let none = |_: Task<'_>, _: u32| Ok(());
    interface(linker, "wasi:sockets/network")?.resource("network", ResourceType::host::<Network>(), none)?;
    let mut l = interface(linker, "wasi:sockets/instance-network")?;
    l.func_wrap("instance-network", |t: Task<'_>, (): ()| sure(t, |_| Ok(Resource::<Network>::new_own(0))))?;

    let mut l = interface(linker, "wasi:sockets/tcp")?;
    l.resource("tcp-socket", ResourceType::host::<TcpSocket>(), none)?;
    let mut l = interface(linker, "wasi:sockets/tcp-create-socket")?;
    l.func_wrap("create-tcp-socket", |t: Task<'_>, (_,): (IpAddressFamily,)| sure(t, |_| Ok(denied::<TcpSocket>())))?;

    let mut l = interface(linker, "wasi:sockets/udp")?;
    l.resource("udp-socket", ResourceType::host::<UdpSocket>(), none)?;
    l.resource("incoming-datagram-stream", ResourceType::host::<IncomingDatagrams>(), none)?;
    l.resource("outgoing-datagram-stream", ResourceType::host::<OutgoingDatagrams>(), none)?;
    let mut l = interface(linker, "wasi:sockets/udp-create-socket")?;
    l.func_wrap("create-udp-socket", |t: Task<'_>, (_,): (IpAddressFamily,)| sure(t, |_| Ok(denied::<UdpSocket>())))?;

    let mut l = interface(linker, "wasi:sockets/ip-name-lookup")?;
    l.resource("resolve-address-stream", ResourceType::host::<ResolvedAddresses>(), none)?;
    l.func_wrap("resolve-addresses", |t: Task<'_>, (_, name): (Resource<Network>, String)| {
        sure(t, |w| {
            w.owed_fuel += name.len() as u64;
            Ok(denied::<ResolvedAddresses>())
        })
    })?;

    for (name, resource, methods) in UNREACHABLE {
        let mut l = interface(linker, name)?;
        for method in methods {
            l.func_new(&format!("[method]{resource}.{method}"), |_, _, _, _| {
                Err(wasmtime::format_err!("there is no such socket"))
            })?;
        }
    }
    Ok(())
}
