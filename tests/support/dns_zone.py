"""A name server on a loopback port (UDP and TCP) for a zone written as the RFC 7208 suite writes it: name to a list of
{"A": …}, {"TXT": …} and so on; "TIMEOUT" is answered with SERVFAIL.  Without TXT records, SPF ones are TXT."""
import ipaddress
import socket
import struct
import threading

TYPES = {1: "A", 5: "CNAME", 12: "PTR", 15: "MX", 16: "TXT", 28: "AAAA"}
NUMBERS = {name: number for number, name in TYPES.items()}


def wire_name(name):
    out = b""
    for label in name.encode("latin-1", "replace").rstrip(b".").split(b"."):
        if label:
            out += bytes([len(label)]) + label
    return out + b"\0"


def data_of(kind, value):
    if kind == "A":
        return ipaddress.IPv4Address(value).packed
    if kind == "AAAA":
        return ipaddress.IPv6Address(value).packed
    if kind in ("PTR", "CNAME"):
        return wire_name(value)
    if kind == "MX":
        return struct.pack(">H", value[0]) + wire_name(value[1])
    out = b""
    for piece in value if isinstance(value, list) else [value]:
        raw = piece.encode("latin-1", "replace")
        for start in range(0, max(len(raw), 1), 255):
            part = raw[start:start + 255]
            out += bytes([len(part)]) + part
    return out


class DnsZone:
    def __init__(self, zone, silent=False):
        self.zone = {name.lower().rstrip("."): entries for name, entries in zone.items()}
        self.silent = silent       # answer nothing at all
        self.asked = 0
        self.udp, self.tcp = self.pair()
        self.port = self.udp.getsockname()[1]
        for target in (self.serve_udp, self.serve_tcp):
            threading.Thread(target=target, daemon=True).start()

    @staticmethod
    def pair():
        """One port that is free for both; the one found for UDP may be in use, or waiting, as a TCP port."""
        for attempt in range(100):
            udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            udp.bind(("127.0.0.1", 0))
            try:
                return udp, socket.create_server(udp.getsockname())
            except OSError:
                udp.close()
                if attempt == 99:
                    raise

    def close(self):
        for sock in (self.udp, self.tcp):
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            sock.close()

    def records(self, name, kind):
        """(rcode, [(type, data)])"""
        entries = self.zone.get(name)
        if entries is None:
            return 3, []
        has_txt = any(isinstance(one, dict) and "TXT" in one for one in entries)
        found = []
        for one in entries:
            if one == "TIMEOUT":
                if not found:
                    return 2, []
                continue
            if "CNAME" in one:
                return 0, [("CNAME", data_of("CNAME", one["CNAME"]))]
            key = "SPF" if kind == "TXT" and not has_txt else kind
            value = one.get(key)
            if value is None or value == "NONE":
                continue
            if value == "TIMEOUT":
                return 2, []
            found.append((kind, data_of(kind, value)))
        return 0, found

    def answer(self, query):
        ident, = struct.unpack(">H", query[:2])
        labels, at = [], 12
        while query[at]:
            labels.append(query[at + 1:at + 1 + query[at]])
            at += query[at] + 1
        question = query[12:at + 5]
        kind = TYPES.get(struct.unpack(">H", query[at + 1:at + 3])[0])
        name = b".".join(labels).decode("latin-1").lower()
        rcode, found = self.records(name, kind) if kind else (0, [])
        self.asked += 1
        out = struct.pack(">HHHHHH", ident, 0x8580 | rcode, 1, len(found), 0, 0) + question
        for record, data in found:
            out += b"\xc0\x0c" + struct.pack(">HHIH", NUMBERS[record], 1, 60, len(data)) + data
        return out

    def serve_udp(self):
        while True:
            try:
                query, sender = self.udp.recvfrom(4096)
                if self.silent:
                    continue
                reply = self.answer(query)
                if len(reply) > 1200:
                    reply = reply[:2] + struct.pack(">H", struct.unpack(">H", reply[2:4])[0] | 0x0200) + reply[4:6] + b"\0\0" + reply[8:12] + query[12:]
                self.udp.sendto(reply, sender)
            except (OSError, IndexError, struct.error):
                if self.udp.fileno() < 0:
                    return

    def serve_tcp(self):
        while True:
            try:
                sock, _ = self.tcp.accept()
            except OSError:
                return
            with sock:
                try:
                    size, = struct.unpack(">H", sock.recv(2, socket.MSG_WAITALL))
                    reply = self.answer(sock.recv(size, socket.MSG_WAITALL))
                    sock.sendall(struct.pack(">H", len(reply)) + reply)
                except (OSError, IndexError, struct.error):
                    pass
