/* SPDX-License-Identifier: MIT */
/*
 * How kkagentd tells kkrelay what to serve. The relay is a process of its own, without privileges, that
 * outlives the daemon: the daemon opens listening sockets inside the tunnel's namespace and passes them
 * over a Unix SOCK_SEQPACKET socket; the relay accepts, and connects to targets from its own namespace.
 *
 * One request a packet, one answer a packet, JSON, at most KK_RELAY_MESSAGE bytes:
 *   {"op":"listen","service":ID,"name":"ssh","protocol":"tcp"|"udp","port":P,"last_port":P,"target":"HOST:PORT",
 *    "proxy_protocol":false,"sockets":N}     + sockets (SCM_RIGHTS), of N that come in all: one for each port on each
 *                      address of the Agent, the first port's first; last_port is port where it is left out, N is 1
 *   {"op":"add","service":ID}     + further sockets of the service
 *   {"op":"gateways","names":{"KEY IN HEX":"gw1",...}}     + a connection to the tunnel's engine that tells by which
 *                      peer a flow came (kkwg/flows.h); both in place of those of before
 *   {"op":"set","service":ID,"target":"HOST:PORT","proxy_protocol":false}   new connections only
 *   {"op":"unlisten","service":ID}   closes the socket; TCP connections that run go on, UDP
 *                      sessions answer from that socket and end with it
 *   {"op":"list"}      -> {"listeners":[{as in listen, "agent_port":P and "addresses":["10.1.0.100"] of the first port's
 *                      sockets, "sockets":N how many there are, "netns":N the cookie of their namespace, "error":"..." when the target is not well}]}, in order of service,
 *                      as many as a message holds; "more":true says that there are others:
 *                      {"op":"list","after_service":ID} goes on behind the last one
 *   {"op":"sessions"}  -> {"sessions":[{"service":"ssh","gateway":"gw1","protocol":"tcp","client":"203.0.113.9:40000",
 *                          "target":"127.0.0.1:22","state":"open"|"closed"|"failed","error":"...",
 *                          "started":UNIX_S,"rx_bytes":N,"tx_bytes":N}],"open":N,"udp_dropped":N}
 *                      "failed" is for want of the target; "closed" with an "error" was the client's doing;
 *                      "gateway" is the one that it came by when
 *                      last looked, which is done when a session begins and after each listing, and is missing when that
 *                      is not known; newest first, KK_RELAY_SESSIONS_SHOWN at most and no more than a message holds; rx_bytes came
 *                      from the client, tx_bytes went to it; "open" counts all that are open,
 *                      "udp_dropped" the datagrams since the start that could not be passed on
 *   {"op":"quit"}      the relay closes everything and ends
 * Answers are {"ok":true,...} or {"ok":false,"error":"sentence"}. The socket has mode 0660 and belongs to who started
 * the relay; "list" and "sessions" are open to every caller that may open it, the rest to root and the owner only.
 */
#ifndef KK_AGENTD_RELAY_CONTROL_H
#define KK_AGENTD_RELAY_CONTROL_H

#define KK_RELAY_MESSAGE	65536
#define KK_RELAY_SESSIONS_SHOWN 100
#define KK_RELAY_UDP_IDLE_S	60

#endif
