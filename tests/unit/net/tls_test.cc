#include "core/net/tls.h"

#include <sys/socket.h>
#include <unistd.h>

#include <fstream>

#include "core/net/line_stream.h"
#include "core/net/tls_policy.h"
#include "tests/support/certificate.h"
#include "tests/support/on_loop.h"

using namespace millrace;
using namespace millrace::net;
using namespace std::chrono_literals;
using millrace::test::on_loop;
using millrace::test::TestCertificate;

namespace {

Deadline soon() { return Deadline::after(20s); }

struct Ends {
  std::unique_ptr<Stream> server, client;
};

Ends make_ends() {
  int fds[2];
  REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
  return {make_stream(fds[0]), make_stream(fds[1])};
}

std::shared_ptr<TlsContext> context(TlsOptions options) {
  auto made = TlsContext::make(options);
  if (!made) FAIL(made.error().context);
  return *made;
}

struct Shaken {
  Result<TlsInfo> server = fail(Errc::internal, ""), client = fail(Errc::internal, "");
};

Shaken shake(Ends& ends, TlsContext& server, TlsContext& client,
             const std::string& name = "mx.example") {
  Shaken out;
  Event done;
  REQUIRE(Loop::current().spawn(Stack::session, [&] {
    out.server = ends.server->start_tls(server, "", soon());
    if (!out.server) ends.server->close();
    done.set();
  }));
  out.client = ends.client->start_tls(client, name, soon());
  if (!out.client) ends.client->close();
  REQUIRE(done.wait(soon()));
  return out;
}

TlsOptions server_options(const TestCertificate& certificate) {
  TlsOptions options;
  options.chain_files = {certificate.path()};
  return options;
}

TlsOptions client_options() {
  TlsOptions options;
  options.server = false;
  return options;
}

}  // namespace

TEST_CASE("net tls: says what was agreed on in Postfix's words", "[net][tls]") {
  struct Case {
    TestCertificate::Kind kind;
    std::string protocols, protocol, key_exchange, signature, digest;
  };
  const auto c = GENERATE(values<Case>({
      {TestCertificate::Kind::rsa, ">=TLSv1", "TLSv1.3", "X25519", "RSA-PSS (2048 bits)", "SHA256"},
      {TestCertificate::Kind::ec, ">=TLSv1", "TLSv1.3", "X25519", "ECDSA (prime256v1)", "SHA256"},
      {TestCertificate::Kind::ed25519, ">=TLSv1", "TLSv1.3", "X25519", "ED25519", ""},
      {TestCertificate::Kind::ec, "<=TLSv1.2", "TLSv1.2", "", "", ""},
      {TestCertificate::Kind::ec, "!TLSv1.3", "TLSv1.2", "", "", ""},
      {TestCertificate::Kind::rsa, "TLSv1.2", "TLSv1.2", "", "", ""},
  }));
  CAPTURE(c.protocols, c.signature);
  const TestCertificate certificate("mx.example", c.kind);
  TlsOptions options = server_options(certificate);
  options.protocols = c.protocols;
  options.exclude_ciphers =
      "aNULL";  // else TLS 1.2 goes without certificates, as between two Postfixes
  const auto server = context(options), client = context(client_options());
  on_loop([&] {
    Ends ends = make_ends();
    const Shaken shaken = shake(ends, *server, *client);
    REQUIRE(shaken.server);
    REQUIRE(shaken.client);
    for (const TlsInfo& info : {*shaken.server, *shaken.client}) {
      CHECK(info.protocol == c.protocol);
      CHECK(info.key_exchange == c.key_exchange);
      CHECK(info.signature == c.signature);
      CHECK(info.digest == c.digest);
      CHECK(info.bits == info.algorithm_bits);
      CHECK(info.bits >= 128);
      CHECK_FALSE(info.cipher.empty());
      CHECK_FALSE(info.peer_trusted);
      CHECK(info.sni == "mx.example");
    }
    CHECK(shaken.client->peer_subject == "mx.example");
    CHECK(shaken.client->peer_issuer == "mx.example");
    CHECK(shaken.client->peer_fingerprint.size() == 32 * 3 - 1);
    CHECK(shaken.server->peer_subject.empty());
  });
}

TEST_CASE("net tls: data both ways, readable, and an end with close_notify", "[net][tls]") {
  const TestCertificate certificate("mx.example");
  const auto server = context(server_options(certificate)), client = context(client_options());
  on_loop([&] {
    Ends ends = make_ends();
    REQUIRE(shake(ends, *server, *client).client);
    CHECK_FALSE(ends.client->readable());
    const std::string big(1000000, 'd');
    Event done;
    REQUIRE(Loop::current().spawn(Stack::session, [&] {
      LineStream lines(std::move(ends.server));
      while (const auto line = lines.read_line(2000000, soon()))
        lines.write(std::string(line->text) + "!\r\n");
      done.set();
    }));
    LineStream lines(std::move(ends.client));
    for (const std::string& text : {std::string("hello"), big, std::string()}) {
      lines.write(text + "\r\n");
      const auto line = lines.read_line(2000000, soon());
      REQUIRE(line);
      CHECK(line->text == text + "!");
    }
    lines.stream().close();
    CHECK(done.wait(soon()));
  });
}

TEST_CASE("net tls: time-outs, garbage and no common version are errors, not hangs", "[net][tls]") {
  const TestCertificate certificate("mx.example");
  const auto server = context(server_options(certificate));
  on_loop([&] {
    Ends ends = make_ends();
    const auto slow = ends.server->start_tls(*server, "", Deadline::after(10ms));
    REQUIRE_FALSE(slow);
    CHECK(slow.error().code == Errc::timeout);

    ends = make_ends();
    REQUIRE(ends.client->write("EHLO client.example\r\n", soon()));
    const auto garbage = ends.server->start_tls(*server, "", soon());
    REQUIRE_FALSE(garbage);
    CHECK(garbage.error().code == Errc::protocol);
    CHECK_FALSE(ends.server->write("x", soon()));

    ends = make_ends();
    ends.client->close();
    const auto gone = ends.server->start_tls(*server, "", soon());
    REQUIRE_FALSE(gone);
    CHECK(gone.error().code == Errc::closed);

    TlsOptions options = client_options();
    options.protocols = "<=TLSv1.2";
    TlsOptions modern = server_options(certificate);
    modern.protocols = ">=TLSv1.3";
    ends = make_ends();
    const Shaken shaken = shake(ends, *context(modern), *context(options));
    CHECK(shaken.server.error().code == Errc::protocol);
    CHECK_FALSE(shaken.client);
  });
}

TEST_CASE("net tls: the client verifies chain and name when told to", "[net][tls]") {
  const TestCertificate authority("Test CA");
  const TestCertificate certificate("mx.example", TestCertificate::Kind::ec, &authority);
  const auto server = context(server_options(certificate));
  TlsOptions options = client_options();
  options.ca_file = authority.path();
  const auto asks = context(options);
  options.verify_peer = true;
  const auto insists = context(options);
  options.ca_file.clear();
  const auto trusts_nobody = context(options);
  on_loop([&] {
    Ends ends = make_ends();
    Shaken shaken = shake(ends, *server, *asks);
    REQUIRE(shaken.client);
    CHECK(shaken.client->peer_trusted);
    CHECK(shaken.client->peer_matched);
    CHECK(shaken.client->peer_issuer == "Test CA");
    ends = make_ends();
    shaken = shake(ends, *server, *asks, "other.example");
    REQUIRE(shaken.client);
    CHECK(shaken.client->peer_trusted);
    CHECK_FALSE(shaken.client->peer_matched);
    ends = make_ends();
    CHECK(shake(ends, *server, *insists).client);
    ends = make_ends();
    CHECK(shake(ends, *server, *insists, "other.example").client.error().code == Errc::protocol);
    ends = make_ends();
    CHECK(shake(ends, *server, *trusts_nobody).client.error().code == Errc::protocol);
  });
}

TEST_CASE("net tls: the server asks for a client's certificate", "[net][tls]") {
  const TestCertificate authority("Test CA");
  const TestCertificate certificate("mx.example", TestCertificate::Kind::ec, &authority);
  const TestCertificate mine("client.example", TestCertificate::Kind::ec, &authority);
  TlsOptions options = server_options(certificate);
  options.ask_client_certificate = true;
  options.ca_file = authority.path();
  const auto asks = context(options);
  options.require_client_certificate = true;
  const auto requires_one = context(options);
  TlsOptions with = client_options();
  with.cert_file = mine.path();
  const auto client = context(with), bare = context(client_options());
  on_loop([&] {
    Ends ends = make_ends();
    Shaken shaken = shake(ends, *asks, *client);
    REQUIRE(shaken.server);
    CHECK(shaken.server->peer_trusted);
    CHECK(shaken.server->peer_subject == "client.example");
    ends = make_ends();
    shaken = shake(ends, *asks, *bare);
    REQUIRE(shaken.server);
    CHECK(shaken.server->peer_subject.empty());
    CHECK_FALSE(shaken.server->peer_trusted);
    ends = make_ends();
    CHECK(shake(ends, *requires_one, *bare).server.error().code == Errc::protocol);
  });
}

TEST_CASE("net tls: settings that cannot be used are named", "[net][tls]") {
  const TestCertificate certificate("mx.example"), other("mx.example");
  const auto why = [](const TlsOptions& options) {
    const auto made = TlsContext::make(options);
    return made                                ? std::string("fine")
           : made.error().code == Errc::config ? made.error().context
                                               : "other code";
  };
  TlsOptions options = server_options(certificate);
  CHECK(why(options) == "fine");
  options.protocols = ">=TLSv9";
  CHECK(why(options) == "invalid TLS protocol list: >=TLSv9");
  options = server_options(certificate);
  options.ciphers = "best";
  CHECK(why(options) == "invalid TLS cipher grade or exclusion: best");
  options.ciphers = "high";
  options.exclude_ciphers = "MD5, DES";
  CHECK(why(options) == "fine");
  options.chain_files = {"/nonexistent/key.pem"};
  CHECK(why(options).find("/nonexistent/key.pem") == 0);
  options.chain_files = {"/dev/null"};
  CHECK(why(options) == "/dev/null: not a private key followed by its certificates");
  options.chain_files = {};
  CHECK(why(options) == "no certificate for the TLS server");
  options.cert_file = certificate.path();
  CHECK(why(options) == "fine");
  options.key_file = other.path();
  CHECK(why(options).find(other.path()) == 0);
  options.key_file.clear();
  options.ca_file = "/nonexistent/ca.pem";
  CHECK(why(options).find("/nonexistent/ca.pem") == 0);
}

TEST_CASE("net tls policy: Postfix's lists of versions", "[net][tls]") {
  struct Case {
    std::string text;
    int least, most;
    unsigned excluded;
  };
  const auto c = GENERATE(values<Case>({
      {"", 0, 0, 0},
      {">=TLSv1", 0x0301, 0, 0},
      {">=TLSv1.2, <=0x0304", 0x0303, 0x0304, 0},
      {"!SSLv2, !SSLv3", 0, 0, 3},
      {"!sslv2:!SSLV3 !TLSv1", 0, 0, 7},
      {"TLSv1.2 TLSv1.3", 0, 0, 15},
      {"TLSv1.2, !TLSv1.2", 0, 0, 63},
      {"<=771", 0, 771, 0},
  }));
  CAPTURE(c.text);
  const auto versions = parse_tls_versions(c.text);
  REQUIRE(versions);
  CHECK(versions->least == c.least);
  CHECK(versions->most == c.most);
  CHECK(versions->excluded == c.excluded);
  for (const char* bad : {"TLS", ">=", ">=x", "!", "0x0303", ">=0x", ">=99999", ">=-1"}) {
    CAPTURE(bad);
    CHECK_FALSE(parse_tls_versions(bad));
  }
}

TEST_CASE("net tls policy: cipher grades", "[net][tls]") {
  CHECK(tls_cipher_list("high", "") == "aNULL:-aNULL:HIGH:@STRENGTH");
  CHECK(tls_cipher_list("Medium", "aNULL, MD5") ==
        "aNULL:-aNULL:HIGH:MEDIUM:+RC4:@STRENGTH:!aNULL:!MD5");
  CHECK_FALSE(tls_cipher_list("mediocre", ""));
  CHECK_FALSE(tls_cipher_list("high", "!MD5"));
}
