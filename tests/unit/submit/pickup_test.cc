#include "core/submit/pickup.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>

#include "tests/support/on_loop.h"
#include "tests/support/temporary_directory.h"

using namespace millrace;
using namespace millrace::submit;

namespace {

struct MemorySink final : smtp::MessageSink {
  Result<std::string> new_queue_id() override { return "ID" + std::to_string(++last); }
  Result<void> submit(const mime::Envelope& envelope, mime::Message& message) override {
    if (full) return fail(Errc::no_space, "full");
    envelopes.push_back(envelope);
    contents.push_back(message.header_text() + message.body.memory());
    return {};
  }
  int spool_directory() const override { return -1; }
  bool has_space(std::uint64_t) override { return true; }
  std::vector<mime::Envelope> envelopes;
  std::vector<std::string> contents;
  int last = 0;
  bool full = false;
};

struct Bench {
  explicit Bench(const std::string& more = "") {
    ::mkdir((directory.path() + "/maildrop").c_str(), 0700);
    config::Findings findings;
    config = config::Config::from_text("compatibility_level = 3.6\nmyhostname = mx.test\nmydestination =\nlocal_recipient_maps =\nalias_maps =\n"
                                       "inet_interfaces = 127.0.0.1\nqueue_directory = " + directory.path() + "\n" + more,
                                       "pickup unix n - n 60 1 pickup\n", findings);
    map::TableOptions options;
    options.warn = [](const std::string&) {};
    tables = std::make_unique<map::TableSet>(options);
    PickupParts parts;
    parts.config = config;
    parts.service = &config->services().front();
    parts.tables = tables.get();
    parts.router = rewrite::Router::make(config, config->params(), *tables).value();
    parts.sink = &sink;
    pickup = Pickup::make(parts, findings);
    for (const auto& line : findings.lines) INFO(line.to_text());
    REQUIRE(pickup);
  }
  std::string drop(const std::string& name, const std::string& bytes, mode_t mode = 0744) const {
    const std::string path = directory.write("maildrop/" + name, bytes);
    ::chmod(path.c_str(), mode);
    return path;
  }
  void scan() {
    test::on_loop([&] { pickup->scan(); });
  }
  void judge(const filter::Verdict& verdict) {
    pickup->use([verdict](mime::Envelope&, mime::Message&) { return verdict; });
  }
  static std::string message(const std::string& subject = "x", const std::string& sender = "joe") {
    std::string out;
    encode_record('F', "Joe Doe", out);
    encode_record('S', sender, out);
    encode_record('R', "b@dest.test", out);
    encode_record('M', "", out);
    encode_record('N', "Subject: " + subject, out);
    encode_record('N', "Bcc: secret@x", out);
    encode_record('N', "", out);
    encode_record('N', "body", out);
    encode_record('X', "", out);
    encode_record('E', "", out);
    return out;
  }
  static bool exists(const std::string& path) {
    struct stat status {};
    return ::lstat(path.c_str(), &status) == 0;
  }
  test::TemporaryDirectory directory;
  std::shared_ptr<const config::Config> config;
  std::unique_ptr<map::TableSet> tables;
  MemorySink sink;
  std::unique_ptr<Pickup> pickup;
};

}  // namespace

TEST_CASE("pickup: a message goes through cleanup's work into the queue", "[pickup]") {
  Bench bench;
  const std::string path = bench.drop("A1", Bench::message());
  bench.scan();
  REQUIRE(bench.sink.envelopes.size() == 1);
  CHECK_FALSE(Bench::exists(path));
  const mime::Envelope& envelope = bench.sink.envelopes[0];
  CHECK(envelope.sender == "joe@mx.test");
  REQUIRE(envelope.recipients.size() == 1);
  CHECK(envelope.recipients[0].orcpt == "rfc822;b@dest.test");
  CHECK(envelope.client_address.empty());
  const std::string& content = bench.sink.contents[0];
  CHECK(content.find("Received: by mx.test (Millrace, from userid " + std::to_string(::getuid()) + ")\r\n\tid ID1; ") == 0);
  CHECK(content.find("From: Joe Doe <joe@mx.test>\r\n") != content.npos);
  CHECK(content.find("Message-Id: <") != content.npos);
  CHECK(content.find("Bcc") == content.npos);
  CHECK(content.ends_with("\r\n\r\nbody\r\n"));
}

TEST_CASE("pickup: what cannot be stored stays, what can never be a message goes", "[pickup]") {
  Bench bench;
  bench.sink.full = true;
  const std::string good = bench.drop("A1", Bench::message());
  const std::string cut = bench.drop("B1", Bench::message().substr(0, 40));
  const std::string noise = bench.drop("C1", "this is no maildrop file at all");
  const std::string incomplete = bench.drop("D1", Bench::message(), 0600);
  const std::string link = bench.directory.path() + "/maildrop/E1";
  REQUIRE(::symlink("/etc/passwd", link.c_str()) == 0);
  const std::string pipe = bench.directory.path() + "/maildrop/F1";
  REQUIRE(::mkfifo(pipe.c_str(), 0777) == 0);
  const std::string folder = bench.directory.path() + "/maildrop/G1";
  REQUIRE(::mkdir(folder.c_str(), 0777) == 0);
  const std::string twice = bench.drop("H1", Bench::message());
  REQUIRE(::link(twice.c_str(), (bench.directory.path() + "/other").c_str()) == 0);
  bench.drop("I1", "");
  bench.scan();
  CHECK(bench.sink.envelopes.empty());
  CHECK(Bench::exists(good));
  CHECK_FALSE(Bench::exists(cut));
  CHECK_FALSE(Bench::exists(noise));
  CHECK(Bench::exists(incomplete));
  CHECK_FALSE(Bench::exists(link));
  CHECK(Bench::exists("/etc/passwd"));
  CHECK_FALSE(Bench::exists(pipe));
  CHECK(Bench::exists(folder));
  CHECK_FALSE(Bench::exists(twice));
  bench.sink.full = false;
  bench.scan();
  CHECK(bench.sink.envelopes.size() == 1);
  CHECK_FALSE(Bench::exists(good));
  // Left by a crash long ago.
  const timespec old[2] = {{1000, 0}, {1000, 0}};
  REQUIRE(::utimensat(AT_FDCWD, incomplete.c_str(), old, 0) == 0);
  bench.scan();
  CHECK_FALSE(Bench::exists(incomplete));
  CHECK(bench.sink.envelopes.size() == 1);
}

TEST_CASE("pickup: authorized_submit_users is about the file's owner", "[pickup]") {
  Bench bench("authorized_submit_users = !root, !unknown, inline:{nobody_here=1}\n");
  const std::string path = bench.drop("A1", Bench::message());
  bench.scan();
  CHECK(bench.sink.envelopes.empty());
  CHECK_FALSE(Bench::exists(path));
}

TEST_CASE("pickup: too large, too many hops", "[pickup]") {
  Bench bench("message_size_limit = 2000\nhopcount_limit = 2\n");
  const std::string large = bench.drop("A1", Bench::message(std::string(5000, 'x')));
  bench.scan();
  CHECK(bench.sink.envelopes.empty());
  CHECK_FALSE(Bench::exists(large));
  bench.drop("A2", Bench::message("x\r\nReceived: a"));   // a line end put there by hand makes no header
  bench.scan();
  REQUIRE(bench.sink.envelopes.size() == 1);
  CHECK(bench.sink.envelopes[0].content_filter.empty());
  std::string looped = Bench::message();
  std::string received;
  encode_record('N', "Received: by elsewhere", received);
  looped.insert(looped.find("N\x0aSubject: x"), received);
  bench.drop("A3", looped);
  bench.scan();
  REQUIRE(bench.sink.envelopes.size() == 2);
  CHECK(bench.sink.envelopes[1].content_filter == "error:5.4.0 too many hops");
}

TEST_CASE("pickup: what filters say of local mail", "[pickup]") {
  Bench bench;
  const std::string path = bench.directory.path() + "/maildrop/A1";
  filter::Verdict verdict;
  SECTION("reject goes back to the sender") {
    bench.judge(filter::Verdict::reply(550, "5.7.9", "not this"));
    bench.drop("A1", Bench::message());
    bench.scan();
    REQUIRE(bench.sink.envelopes.size() == 1);
    CHECK(bench.sink.envelopes[0].content_filter == "error:5.7.9 not this");
    CHECK_FALSE(Bench::exists(path));
  }
  SECTION("tempfail keeps the file") {
    bench.judge(filter::Verdict::reply(451, "4.7.1", "later"));
    bench.drop("A1", Bench::message());
    bench.scan();
    CHECK(bench.sink.envelopes.empty());
    CHECK(Bench::exists(path));
  }
  SECTION("discard") {
    verdict.action = filter::Action::discard;
    bench.judge(verdict);
    bench.drop("A1", Bench::message());
    bench.scan();
    CHECK(bench.sink.envelopes.empty());
    CHECK_FALSE(Bench::exists(path));
  }
  SECTION("quarantine") {
    verdict.action = filter::Action::quarantine;
    bench.judge(verdict);
    bench.drop("A1", Bench::message());
    bench.scan();
    REQUIRE(bench.sink.envelopes.size() == 1);
    CHECK(bench.sink.envelopes[0].hold);
    CHECK(bench.sink.envelopes[0].recipients.size() == 1);
  }
}

TEST_CASE("pickup: runs until it is stopped, and is woken", "[pickup]") {
  Bench bench;
  test::on_loop([&] {
    bool ended = false;
    REQUIRE(net::Loop::current().spawn(net::Stack::plugin, [&] {
      bench.pickup->run();
      ended = true;
    }));
    (void)net::sleep_until(Deadline::after(std::chrono::milliseconds(30)));
    bench.drop("A1", Bench::message());
    bench.pickup->wake();
    for (int i = 0; i < 500 && bench.sink.envelopes.empty(); ++i) (void)net::sleep_until(Deadline::after(std::chrono::milliseconds(10)));
    CHECK(bench.sink.envelopes.size() == 1);
    bench.pickup->stop();
    for (int i = 0; i < 500 && !ended; ++i) (void)net::sleep_until(Deadline::after(std::chrono::milliseconds(10)));
    CHECK(ended);
  });
}
