"""Messages signed by dkimpy, Mail::DKIM and by hand, good and bad in every way that peers differ in; and what dkimpy and
Mail::DKIM say of them."""
import base64
import hashlib
import itertools
import os
import re
import subprocess
import time

import dkim
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.serialization import load_pem_private_key

DOMAIN = "sender.example"
PERL = os.path.join(os.path.dirname(os.path.abspath(__file__)), "mail_dkim.pl")
CANONS = list(itertools.product((b"simple", b"relaxed"), repeat=2))
BODIES = {
    "plain": b"Hello,\r\n\r\n.\r\n..x\r\nthis  is\t it.  \r\n\r\n\r\n",
    "empty": b"",
    "lines": b"\r\n\r\n\r\n",
    "spaces": b" \r\n \t\r\n",
    "lead": b"  a\r\n\tb \t c\r\n",
    "trail": b"x\r\n  \r\n\t\r\n",
    "8bit": "Grüße\r\n".encode() + bytes(range(128, 256)) + b"\r\n",
    "large": b"0123456789 abcdef  \t.\r\n.\r\n" * 5000,
}
HEADER = (b"From: A <a@sender.example>\r\nTo:  b@dest.example\r\nSubject: signed\r\n\t mail  x \r\n"
          b"Date: Sat, 21 Nov 2026 10:00:00 +0000\r\nX-Empty:\r\nMessage-Id:<1@sender.example>\r\n")


def message(body):
    return HEADER + b"\r\n" + body


def run(*command):
    return subprocess.run(command, check=True, capture_output=True).stdout


class Keys:
    """Key files in a folder, and their records by DNS name."""

    def __init__(self, work):
        self.work, self.records = work, {}
        self.rsa("sel", 2048)
        self.rsa("small", 1024)
        self.rsa("short", 768)
        record = self.records[self.name("sel")]
        key = record.split("p=")[1]
        for selector, text in {"revoked": "v=DKIM1; p=", "strict": record + "; t=s", "sha1only": record + "; h=sha1",
                               "other": record + "; s=other", "bad": "v=DKIM1; k=rsa; p=AAAA", "v2": "v=DKIM2; k=rsa; p=" + key,
                               "bare": "p=" + key, "spaced": " v=DKIM1 ;  k = rsa ; p= " + re.sub("(.{50})", r"\1 ", key) + " ;"}.items():
            self.records[self.name(selector)] = text
        path = self.path("ed")
        run("openssl", "genpkey", "-algorithm", "ed25519", "-out", path)
        der = run("openssl", "pkey", "-in", path, "-pubout", "-outform", "DER")
        seed = run("openssl", "pkey", "-in", path, "-outform", "DER")[-32:]
        with open(self.path("ed.seed"), "wb") as out:
            out.write(base64.b64encode(seed))
        self.records[self.name("ed")] = "v=DKIM1; k=ed25519; p=" + base64.b64encode(der[-32:]).decode()

    @staticmethod
    def name(selector):
        return "%s._domainkey.%s" % (selector, DOMAIN)

    def path(self, selector):
        return os.path.join(self.work, selector + ".key")

    def rsa(self, selector, bits):
        run("openssl", "genrsa", "-traditional", "-out", self.path(selector), str(bits))
        os.chmod(self.path(selector), 0o600)
        pem = run("openssl", "rsa", "-in", self.path(selector), "-pubout").decode()
        self.records[self.name(selector)] = "v=DKIM1; k=rsa; p=" + "".join(pem.split("\n")[1:-2])

    def read(self, selector):
        with open(self.path(selector), "rb") as file:
            return file.read()

    def dns(self, name, timeout=5):  # pylint: disable=unused-argument
        name = (name.decode() if isinstance(name, bytes) else name).rstrip(".").lower()
        record = self.records.get(name)
        return None if record is None else record.encode()

    def zone(self):
        return {(name, "TXT"): [text] for name, text in self.records.items()}


def by_dkimpy(keys, content, selector="sel", key="sel", canon=(b"relaxed", b"relaxed"), length=False, algorithm=b"rsa-sha256", identity=None):
    return dkim.sign(content, selector.encode(), DOMAIN.encode(), keys.read(key), identity=identity, canonicalize=canon,
                     length=length, signature_algorithm=algorithm) + content


def relaxed(field):
    name, value = field.split(b":", 1)
    return name.strip().lower() + b":" + re.sub(rb"[ \t]+", b" ", value.replace(b"\r\n", b"")).strip()


def by_hand(keys, template, names=(b"from", b"to", b"subject", b"date")):
    """relaxed/relaxed over the plain body; the template has %BH% and %B% where the values go."""
    body = re.sub(rb"[ \t]+\r\n", b"\r\n", re.sub(rb"[ \t]+", b" ", BODIES["plain"]))
    body = re.sub(rb"(\r\n)+$", b"", body) + b"\r\n"
    field = template.replace(b"%BH%", base64.b64encode(hashlib.sha256(body).digest()))
    fields = {one.split(b":")[0].lower(): one for one in re.split(rb"\r\n(?![ \t])", HEADER[:-2])}
    start, end = field.split(b"%B%")
    text = b"".join(relaxed(fields[name]) + b"\r\n" for name in names)
    text += relaxed(start.rstrip(b" \t\r\n") + end.lstrip(b" \t\r\n"))
    value = load_pem_private_key(keys.read("sel"), None).sign(text, padding.PKCS1v15(), hashes.SHA256())
    return field.replace(b"%B%", base64.b64encode(value)) + b"\r\n" + message(BODIES["plain"])


def odd_fields():
    usual = b"DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=sender.example; s=sel; h=from:to:subject:date; bh=%BH%; b=%B%"

    def changed(old, new):
        return usual.replace(old, new)
    return {
        "usual": usual,
        "semicolon at the end": usual + b";",
        "space at the end": usual + b" ; ",
        "b first": b"DKIM-Signature: b=%B%; " + usual.split(b": ", 1)[1].replace(b"; b=%B%", b""),
        "spaces": b"DKIM-Signature:  v = 1 ;a = rsa-sha256 ;  c= relaxed/relaxed; d = sender.example ; s= sel;\r\n\th = from : to :\r\n"
                  b"  subject: date ; bh = %BH% ; b = %B%",
        "folds": usual.replace(b": v", b":\r\n v").replace(b"; ", b";\r\n ").replace(b"to:s", b"to:\r\n s").replace(b"%B%", b"\r\n %B%"),
        "tabs": usual.replace(b": v", b":\tv").replace(b"; ", b";\t"),
        "case": usual.replace(b"sender.example", b"Sender.EXAMPLE").replace(b"from:to", b"FROM:To"),
        "unknown tag": changed(b"s=sel", b"s=sel; zz=abc def"),
        "empty tag": changed(b"s=sel", b"s=sel; zz="),
        "twice": changed(b"v=1", b"v=1; v=1"),
        "two semicolons": changed(b"v=1;", b"v=1;;"),
        "q": changed(b"s=sel", b"s=sel; q=dns/txt"),
        "q unknown": changed(b"s=sel", b"s=sel; q=http"),
        "v 2": changed(b"v=1", b"v=2"),
        "no v": changed(b" v=1;", b""),
        "i": changed(b"s=sel", b"s=sel; i=@sender.example"),
        "i below": changed(b"s=sel", b"s=sel; i=x@a.sender.example"),
        "i elsewhere": changed(b"s=sel", b"s=sel; i=x@badsender.example"),
        "expired": changed(b"s=sel", b"s=sel; t=1000000000; x=1100000000"),
        "not expired": changed(b"s=sel", b"s=sel; t=1000000000; x=4100000000"),
        "clock ahead": changed(b"s=sel", b"s=sel; t=%d" % (time.time() + 3000)),
        "oversigned": changed(b"subject:date", b"subject:date:from:x-none:to"),
        "z": changed(b"s=sel", b"s=sel; z=From:foo=20bar|To:x"),
        "l too large": changed(b"s=sel", b"s=sel; l=100000"),
        "l no number": changed(b"s=sel", b"s=sel; l=abc"),
        "a in capitals": changed(b"rsa-sha256", b"RSA-SHA256"),
        "c unknown": changed(b"c=relaxed", b"c=odd"),
        "name in another case": usual.replace(b"DKIM-Signature: ", b"dkim-SIGNATURE:  "),
        "no space": usual.replace(b"DKIM-Signature: ", b"DKIM-Signature:"),
    }


def make(keys):
    """{name: content}"""
    out, plain = {}, message(BODIES["plain"])
    for (name, body), canon in itertools.product(BODIES.items(), CANONS):
        kind = "%s %s/%s" % (name, canon[0].decode(), canon[1].decode())
        content = message(body)
        good = by_dkimpy(keys, content, canon=canon)
        out["dkimpy, " + kind] = good
        out["dkimpy, body longer, " + kind] = good + b"more\r\n"
        out["dkimpy, l=, body longer, " + kind] = by_dkimpy(keys, content, canon=canon, length=True) + b"more\r\n"
        out["dkimpy, other subject, " + kind] = good.replace(b"Subject: signed", b"Subject: altered")
        path = os.path.join(keys.work, "message")
        with open(path, "wb") as file:
            file.write(content)
        run("perl", PERL, "sign", keys.path("sel"), (canon[0] + b"/" + canon[1]).decode(), "rsa-sha256", DOMAIN, "sel", path)
        with open(path + ".signed", "rb") as file:
            out["Mail::DKIM, " + kind] = file.read()
    for name, template in odd_fields().items():
        out["by hand, " + name] = by_hand(keys, template)
    for selector in ("revoked", "strict", "sha1only", "other", "bad", "v2", "bare", "spaced", "absent"):
        out["key " + selector] = by_dkimpy(keys, plain, selector=selector)
    out["key strict, i= below"] = by_dkimpy(keys, plain, selector="strict", identity=b"a@sub.sender.example")
    out["key of 768 bits"] = by_dkimpy(keys, plain, "short", "short")
    out["key of 1024 bits"] = by_dkimpy(keys, plain, "small", "small")
    out["Ed25519"] = by_dkimpy(keys, plain, "ed", "ed.seed", algorithm=b"ed25519-sha256")
    out["Ed25519, body longer"] = out["Ed25519"] + b"more\r\n"
    out["rsa-sha1"] = by_dkimpy(keys, plain, algorithm=b"rsa-sha1")
    out["two"] = by_dkimpy(keys, by_dkimpy(keys, plain), "small", "small")
    out["two, l= below"] = by_dkimpy(keys, by_dkimpy(keys, plain, canon=CANONS[0]), "small", "small", length=True)
    out["two, l= above"] = by_dkimpy(keys, by_dkimpy(keys, plain, "small", "small", length=True), canon=CANONS[2])
    out["two, one without a key"] = by_dkimpy(keys, by_dkimpy(keys, plain), "absent")
    out["two, none with a key"] = by_dkimpy(keys, by_dkimpy(keys, plain, "revoked"), "absent")
    out["Ed25519 and RSA"] = by_dkimpy(keys, out["Ed25519"])
    out["unsigned"] = plain
    return out


def dkimpy_passes(keys, content):
    count = len(re.findall(rb"(?im)^dkim-signature *:", content.split(b"\r\n\r\n")[0]))
    for index in range(count):
        try:
            if dkim.DKIM(content).verify(idx=index, dnsfunc=keys.dns):
                return True
        except dkim.DKIMException:
            pass
    return False


def mail_dkim_passes(keys, contents):
    """For each of a list."""
    record_file = os.path.join(keys.work, "records")
    with open(record_file, "w", encoding="ascii") as file:
        file.writelines("%s %s\n" % pair for pair in keys.records.items())
    names = []
    for index, content in enumerate(contents):
        names.append(os.path.join(keys.work, "v%d" % index))
        with open(names[-1], "wb") as file:
            file.write(content)
    lines = run("perl", PERL, "verify", record_file, *names).decode().splitlines()
    assert len(lines) == len(names), lines
    return [line.split()[1] == "pass" for line in lines]
