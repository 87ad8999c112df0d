"""A name server for tests: a table of records, a delay before each answer, a list of what was asked.  What is
not in the table is NXDOMAIN, with an SOA so that it can be cached.  One thread, answers side by side."""
import heapq
import select
import socket
import struct
import threading
import time

TYPES = {"A": 1, "NS": 2, "PTR": 12, "MX": 15, "TXT": 16, "AAAA": 28}
NAMES = {number: name for name, number in TYPES.items()}


def encode_name(name):
    return b"".join(bytes([len(label)]) + label.encode() for label in name.rstrip(".").split(".") if label) + b"\0"


def encode_data(kind, data):
    if kind == "A":
        return socket.inet_aton(data)
    if kind == "AAAA":
        return socket.inet_pton(socket.AF_INET6, data)
    if kind == "MX":
        preference, host = data.split()
        return struct.pack("!H", int(preference)) + encode_name(host)
    if kind == "TXT":
        raw = data.encode()
        return b"".join(bytes([len(raw[at:at + 255])]) + raw[at:at + 255] for at in range(0, max(len(raw), 1), 255))
    return encode_name(data)


class NameServer:
    """records: {(name, "A"): [data, …]}; an answer of None is SERVFAIL."""

    def __init__(self, records=None, delay=0.0, address="127.0.0.1", port=0):
        self.records = {(name.lower(), kind): data for (name, kind), data in (records or {}).items()}
        self.delay = delay
        self.asked = []          # (name, type), in order
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self.sock.bind((address, port))
        self.port = self.sock.getsockname()[1]
        self.stopping = False
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        pending, count = [], 0
        while not self.stopping:
            wait = max(0.0, pending[0][0] - time.monotonic()) if pending else 0.2
            if select.select([self.sock], [], [], min(wait, 0.2))[0]:
                packet, peer = self.sock.recvfrom(4096)
                reply = self.answer(packet)
                if reply:
                    count += 1
                    heapq.heappush(pending, (time.monotonic() + self.delay, count, reply, peer))
            while pending and pending[0][0] <= time.monotonic():
                _, _, reply, peer = heapq.heappop(pending)
                self.sock.sendto(reply, peer)

    def answer(self, packet):
        labels, at = [], 12
        while at < len(packet) and packet[at]:
            labels.append(packet[at + 1:at + 1 + packet[at]].decode("latin-1"))
            at += 1 + packet[at]
        if at + 5 > len(packet):
            return None
        kind = NAMES.get(struct.unpack("!H", packet[at + 1:at + 3])[0], "?")
        name, question = ".".join(labels).lower(), packet[12:at + 5]
        self.asked.append((name, kind))
        found = self.records.get((name, kind))
        known = any(other == name for other, _ in self.records)
        failed = found is None and (name, kind) in self.records
        rcode = 2 if failed else 0 if known else 3
        answers = b"".join(b"\xc0\x0c" + struct.pack("!HHIH", TYPES[kind], 1, 300, len(data)) + data
                           for data in (encode_data(kind, text) for text in found or []))
        soa = b""
        if not found and not failed:
            data = encode_name("ns.test") + encode_name("root.test") + struct.pack("!5I", 1, 300, 300, 300, 300)
            soa = b"\0" + struct.pack("!HHIH", 6, 1, 300, len(data)) + data
        return packet[:2] + struct.pack("!HHHHH", 0x8580 | rcode, 1, len(found or []), 1 if soa else 0, 0) + question + \
            answers + soa

    def stop(self):
        self.stopping = True
        self.thread.join()
        self.sock.close()
