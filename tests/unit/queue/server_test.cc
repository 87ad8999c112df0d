// Client and server of the queue socket, and the control socket, in one process on one loop.
#include "core/queue/server.h"

#include <sys/socket.h>

#include <set>

#include "core/net/stream.h"
#include "core/queue/client.h"
#include "core/queue/control.h"
#include "core/queue/control_client.h"
#include "queue_support.h"

namespace millrace::queue {
namespace {

struct World {
  TemporaryDirectory directory;
  std::unique_ptr<Store> store = open_store(directory.path);
  std::string path = directory.path + "/front";
  int listening = *net::listen_unix(path, 0600, 64);
  int spool = ::open(directory.path.c_str(), O_DIRECTORY | O_RDONLY | O_CLOEXEC);
  std::vector<std::pair<Entry, std::shared_ptr<const std::string>>> stored;
  std::function<Result<smtp::Verified>(const std::string&, std::chrono::seconds)> verify;
  ~World() {
    ::close(listening);
    ::close(spool);
  }
  std::unique_ptr<Server> serve() {
    ServerOptions options;
    options.listening_fd = listening;
    options.verify = verify;
    return Server::start(*store, options, [this](Entry entry, std::shared_ptr<const std::string> content) {
      stored.emplace_back(std::move(entry), std::move(content));
    });
  }
  std::unique_ptr<smtp::MessageSink> client() {
    ClientOptions options;
    options.socket_path = path;
    options.spool_directory = spool;
    return make_client(options, log::Logger("test"));
  }
};

mime::Envelope envelope_of(const std::string& id) {
  mime::Envelope envelope;
  envelope.queue_id = id;
  envelope.sender = "s@example.org";
  envelope.recipients = {{"r@example.net", "r@example.net", "", 0}};
  return envelope;
}

mime::Message message_of(const std::string& body, int spool) {
  mime::Message message;
  message.headers.push_back(mime::Header::make("Subject", "x"));
  message.body = mime::Body(spool);
  REQUIRE(message.body.append(body));
  return message;
}

}  // namespace

TEST_CASE("queue socket: what is known of an address", "[queue]") {
  World world;
  on_fiber([&] {
    SECTION("told") {
      world.verify = [](const std::string& address, std::chrono::seconds wait) -> Result<smtp::Verified> {
        CHECK(wait == std::chrono::seconds(6));
        return smtp::Verified{smtp::Verified::Status::bounced, address + " is not there"};
      };
      const auto server = world.serve();
      const auto client = world.client();
      const auto known = client->verify("a@b", std::chrono::seconds(6));
      REQUIRE(known);
      CHECK(known->status == smtp::Verified::Status::bounced);
      CHECK(known->text == "a@b is not there");
    }
    SECTION("nobody can tell") {
      const auto server = world.serve();
      CHECK_FALSE(world.client()->verify("a@b", std::chrono::seconds(0)));
    }
  });
}

TEST_CASE("queue socket: messages of all sizes arrive whole", "[queue]") {
  World world;
  on_fiber([&] {
    const auto server = world.serve();
    const auto client = world.client();
    std::string body;
    while (body.size() < 200000) body += "0123456789 line\r\n";
    for (const std::size_t lines : {0u, 10u, 900u, 1500u, 3000u, 11000u}) {
      const std::string part = body.substr(0, lines * 17);
      CAPTURE(part.size());
      const Result<std::string> id = client->new_queue_id();
      REQUIRE(id);
      CHECK(id->size() == 10);
      mime::Message message = message_of(part, world.spool);
      REQUIRE(client->submit(envelope_of(*id), message));
      const Result<Content> content = world.store->open_content(*id);
      REQUIRE(content);
      CHECK(read_all(*content) == message.header_text() + part);
      REQUIRE(world.stored.size() > 0);
      const auto& [entry, bytes] = world.stored.back();
      CHECK(entry.envelope.queue_id == *id);
      CHECK(entry.envelope.size == message.size());
      CHECK((bytes == nullptr) == (message.size() > 16384));
      if (bytes) CHECK(*bytes == message.header_text() + part);
    }
    // Headers too long for a frame go into the file.
    mime::Message message = message_of(body.substr(0, 1700), world.spool);
    message.headers.push_back(mime::Header::make("X-Long", std::string(50000, 'h')));
    REQUIRE(client->submit(envelope_of("LONGHEADER"), message));
    CHECK(read_all(*world.store->open_content("LONGHEADER")) == message.header_text() + body.substr(0, 1700));
  });
}

TEST_CASE("queue socket: many submissions share commits and ids differ", "[queue]") {
  World world;
  net::Loop loop;
  int left = 300;
  std::set<std::string> ids;
  std::unique_ptr<Server> server;
  std::unique_ptr<smtp::MessageSink> client;
  loop.post([&] {
    server = world.serve();
    client = world.client();
    for (int i = 0; i < 300; ++i) {
      REQUIRE(loop.spawn(net::Stack::session, [&] {
        for (int n = 0; n < 5; ++n) {
          const Result<std::string> id = client->new_queue_id();
          REQUIRE(id);
          CHECK(ids.insert(*id).second);
          mime::Message message = message_of("body\r\n", -1);
          CHECK(client->submit(envelope_of(*id), message));
        }
        if (--left == 0) loop.stop();
      }));
    }
  });
  loop.run();
  client.reset();
  server.reset();
  CHECK(world.stored.size() == 1500);
  CHECK(world.store->syncs() < 400);
}

TEST_CASE("queue socket: hold, and a message that cannot be stored", "[queue]") {
  World world;
  on_fiber([&] {
    const auto server = world.serve();
    const auto client = world.client();
    mime::Envelope envelope = envelope_of("HELD000001");
    envelope.hold = true;
    mime::Message message = message_of("x\r\n", -1);
    REQUIRE(client->submit(envelope, message));
    CHECK(world.store->load("HELD000001")->queue == QueueName::hold);
    const Result<void> twice = client->submit(envelope, message);
    REQUIRE_FALSE(twice);
    CHECK(twice.error().code == Errc::exists);
    CHECK(world.stored.size() == 1);
  });
}

TEST_CASE("queue socket: the client finds a new queue process", "[queue]") {
  World world;
  on_fiber([&] {
    auto server = world.serve();
    const auto client = world.client();
    mime::Message message = message_of("x\r\n", -1);
    REQUIRE(client->submit(envelope_of(*client->new_queue_id()), message));
    server.reset();
    (void)net::sleep_until(Deadline::after(std::chrono::milliseconds(20)));
    server = world.serve();
    REQUIRE(client->submit(envelope_of(*client->new_queue_id()), message));
    CHECK(world.stored.size() == 2);
  });
}

TEST_CASE("queue socket: what was under way when the queue process went is asked again", "[queue]") {
  World world;
  on_fiber([&] {
    auto server = world.serve();
    const auto client = world.client();
    net::Event done;
    Result<void> submitted = fail(Errc::internal, "not yet");
    const std::string id = *client->new_queue_id();
    REQUIRE(net::Loop::current().spawn(net::Stack::session, [&] {
      mime::Message message = message_of("x\r\n", -1);
      submitted = client->submit(envelope_of(id), message);
      done.set();
    }));
    // Stored or not when the connection ends: both must come out well, once.
    for (int i = 0; i < 3; ++i) (void)net::sleep_until(Deadline::after(std::chrono::milliseconds(0)));
    server.reset();
    (void)net::sleep_until(Deadline::after(std::chrono::milliseconds(20)));
    server = world.serve();
    REQUIRE(done.wait(Deadline::after(std::chrono::seconds(5))));
    CHECK(submitted);
    CHECK(world.store->load(id));
  });
}

TEST_CASE("queue socket: garbage ends the connection and nothing else", "[queue]") {
  World world;
  on_fiber([&] {
    const auto server = world.serve();
    net::Endpoint to;
    to.address = world.path;
    to.is_unix = true;
    for (const std::string& bytes : {std::string("\xff\xff\xff\xff"), std::string("\x02\0\0\0\x01x", 6),
                                    std::string("\x01\0\0\0\x63", 5)}) {
      auto stream = net::connect(to, {}, Deadline::after(std::chrono::seconds(1)));
      REQUIRE(stream);
      REQUIRE((*stream)->write(bytes, Deadline::after(std::chrono::seconds(1))));
      char buffer[10];
      CHECK_FALSE((*stream)->read_some(buffer, sizeof buffer, Deadline::after(std::chrono::seconds(1))));
    }
    const auto client = world.client();
    mime::Message message = message_of("x\r\n", -1);
    CHECK(client->submit(envelope_of(*client->new_queue_id()), message));
  });
}

namespace {

struct FakeScheduler final : SchedulerControl {
  void flush_all() override { calls.push_back("flush_all"); }
  void flush(const std::string& id) override { calls.push_back("flush " + id); }
  bool flush_site(const std::string& domain) override {
    calls.push_back("site " + domain);
    return domain != "elsewhere.example";
  }
  bool is_active(const std::string& id) override { return id == "AAAA0002"; }
  void removed(const std::string& id) override { calls.push_back("removed " + id); }
  void changed(const std::string& id) override { calls.push_back("changed " + id); }
  std::vector<std::string> calls;
};

}  // namespace

TEST_CASE("queue control: list, change, flush, cat through the socket", "[queue]") {
  World world;
  for (const char* id : {"AAAA0001", "AAAA0002", "AAAA0003"}) {
    REQUIRE(world.store->add(make_entry(id, 2), "Subject: x\r\n\r\nbody\r\n", -1));
  }
  FakeScheduler scheduler;
  on_fiber([&] {
    ControlOptions options;
    options.listening_fd = world.listening;
    const auto server = ControlServer::start(*world.store, &scheduler, options);
    // The client blocks: it is a tool's.
    net::offload([&] {
      Result<ControlClient> client = ControlClient::connect(world.path);
      REQUIRE(client);
      std::vector<Listing> listings;
      const auto list = [&] {
        listings.clear();
        return client->request({"list"}, [&](const Strings& item) { return decode_listing(item, listings); });
      };
      REQUIRE(list());
      REQUIRE(listings.size() == 3);
      CHECK(listings[0].queue == QueueName::incoming);
      CHECK(listings[1].queue == QueueName::active);
      CHECK(listings[1].recipients[1].address == "user1@example.net");
      const auto none = [](const Strings&) { return false; };
      CHECK(*client->request({"change", "h", "AAAA0001"}, none) == Strings{"1", "0"});
      CHECK(*client->request({"change", "h", "AAAA0001"}, none) == Strings{"0", "0"});
      CHECK(*client->request({"change", "d", "", "active"}, none) == Strings{"1", "0"});
      CHECK(*client->request({"change", "f", ""}, none) == Strings{"2", "1"});
      CHECK(*client->request({"change", "d", "NOSUCH"}, none) == Strings{"0", "0"});
      CHECK(client->request({"flush"}, none));
      CHECK(client->request({"flush", "AAAA0003"}, none));
      CHECK(client->request({"site", "example.net"}, none));
      CHECK_FALSE(client->request({"change", "x", ""}, none));
      CHECK_FALSE(client->request({"bogus"}, none));
      REQUIRE(list());
      REQUIRE(listings.size() == 2);
      CHECK(listings[0].queue == QueueName::deferred);
      CHECK(listings[0].forced_expire);
      std::string content;
      std::optional<Entry> entry;
      REQUIRE(client->request({"cat", "AAAA0003"}, [&](const Strings& item) {
        if (item.size() == 2 && item[0] == "content") {
          content += item[1];
          return true;
        }
        entry = decode_entry(item);
        return entry.has_value();
      }));
      CHECK(content == "Subject: x\r\n\r\nbody\r\n");
      REQUIRE(entry);
      CHECK(entry->recipients.size() == 2);
      CHECK(client->request({"cat", "NOSUCH"}, none).error().code == Errc::not_found);
    });
  });
  CHECK(scheduler.calls == std::vector<std::string>{"changed AAAA0001", "removed AAAA0002", "changed AAAA0001",
                                                    "changed AAAA0003", "flush_all", "flush AAAA0003",
                                                    "site example.net"});
}

}  // namespace millrace::queue
