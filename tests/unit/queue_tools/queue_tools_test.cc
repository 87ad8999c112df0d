// The queue tools on a store whose daemon is down, and through a control socket.
#include "core/queue/paths.h"
#include "core/tools/queue_tools.h"

#include <fcntl.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>

#include "core/net/fiber.h"
#include "core/net/stream.h"
#include "core/queue/control.h"

namespace millrace::tools {
namespace {

struct World {
  World() {
    std::string name = std::filesystem::temp_directory_path() / "millrace-tools-XXXXXX";
    path = ::mkdtemp(name.data());
    std::filesystem::create_directories(path + "/q/public");
    std::filesystem::create_directories(queue::store_directory(path + "/q"));
    std::ofstream(path + "/main.cf") << "queue_directory = " << path << "/q\n";
    std::ofstream(path + "/master.cf");
    ::setenv("TZ", "UTC", 1);
  }
  ~World() { std::filesystem::remove_all(path); }

  std::unique_ptr<queue::Store> store() {
    queue::StoreOptions options;
    options.directory = queue::store_directory(path + "/q");
    return std::move(*queue::Store::open(options));
  }
  void add(queue::Store& in, const std::string& id) {
    queue::Entry entry;
    entry.envelope.queue_id = id;
    entry.envelope.sender = "s@a.test";
    entry.envelope.arrival = 1795263242000000;
    entry.recipients.push_back({{"r@b.test", "r@b.test", "", 0}});
    REQUIRE(in.add(entry, "Subject: x\r\n\r\nbody\r\n", -1));
  }

  // Runs a tool with its outputs in files.
  std::string run(int (*tool)(int, char**, const std::string&), std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), "millrace");
    std::vector<char*> pointers;
    for (std::string& argument : arguments) pointers.push_back(argument.data());
    pointers.push_back(nullptr);
    const std::string file = path + "/output";
    std::fflush(stdout);
    const int out = ::dup(1), err = ::dup(2);
    const int to = ::open(file.c_str(), O_CREAT | O_TRUNC | O_RDWR | O_APPEND, 0600);
    ::dup2(to, 1);
    ::dup2(to, 2);
    status = tool(static_cast<int>(pointers.size()) - 1, pointers.data(), path);
    std::fflush(stdout);
    ::dup2(out, 1);
    ::dup2(err, 2);
    for (const int fd : {out, err, to}) ::close(fd);
    std::ifstream in(file);
    return {std::istreambuf_iterator<char>(in), {}};
  }

  std::string path;
  int status = -1;
};

}  // namespace

TEST_CASE("queue tools: usage and what is refused", "[tools]") {
  World world;
  CHECK(world.run(queue_main, {}) ==
        "postqueue: fatal: usage: postqueue -f | postqueue -i queueid | postqueue -j | postqueue -p | postqueue -s site\n");
  CHECK(world.status == 69);
  world.run(queue_main, {"-p", "-j"});
  CHECK(world.status == 69);
  CHECK(world.run(queue_main, {"-i", "a/b"}) == "postqueue: fatal: Cannot flush queue ID - invalid name: \"a/b\"\n");
  CHECK(world.run(queue_main, {"-s", " x"}) ==
        "postqueue: fatal: Cannot flush mail queue - invalid destination: \" x\"\n");
  CHECK(world.run(super_main, {"-d", "ALL", "bogus"}) == "postsuper: fatal: invalid directory name: bogus\n");
  CHECK(world.status == 1);
  CHECK(world.run(cat_main, {"-q", "NOSUCH"}) ==
        "postcat: fatal: open queue file NOSUCH: No such file or directory\n");
  CHECK(world.status == 1);
  world.run(cat_main, {"-o", "NOSUCH"});
  CHECK(world.status == 1);
}

TEST_CASE("queue tools: with the daemon down", "[tools]") {
  World world;
  CHECK(world.run(queue_main, {"-p"}) ==
        "postqueue: warning: Mail system is down -- accessing queue directly\nMail queue is empty\n");
  {
    const auto store = world.store();
    for (const char* id : {"AAAA000001", "AAAA000002", "AAAA000003"}) world.add(*store, id);
  }
  CHECK(world.run(super_main, {"-h", "AAAA000001"}) ==
        "postsuper: AAAA000001: placed on hold\npostsuper: Placed on hold: 1 message\n");
  CHECK(world.run(super_main, {"-h", "AAAA000001"}) == "postsuper: Placed on hold: 0 messages\n");
  CHECK(world.run(super_main, {"-d", "a b", "-d", "ALL", "hold"}) == "postsuper: Deleted: 1 message\n");
  CHECK(world.run(super_main, {"-H", "ALL", "-r", "ALL"}) ==
        "postsuper: Released from hold: 0 messages\npostsuper: Requeued: 2 messages\n");
  CHECK(world.run(super_main, {"-d", "", "-d", "AAAA000002"}) ==
        "postsuper: warning: invalid mail queue id: \npostsuper: AAAA000002: removed\npostsuper: Deleted: 1 message\n");
  CHECK(world.run(queue_main, {"-p"}) ==
        "postqueue: warning: Mail system is down -- accessing queue directly\n"
        "-Queue ID-  --Size-- ----Arrival Time---- -Sender/Recipient-------\n"
        "AAAA000003       20 Sat Nov 21 12:14:02  s@a.test\n"
        "                                         r@b.test\n\n"
        "-- 0 Kbytes in 1 Request.\n");
  CHECK(world.run(cat_main, {"-h", "AAAA000003"}) == "Subject: x\n");
  CHECK(world.run(cat_main, {"-bh", "-q", "AAAA000003"}) == "Subject: x\n\nbody\n");
  CHECK(world.run(queue_main, {"-f"}) == "postqueue: fatal: Cannot flush mail queue - mail system is down\n");
  CHECK(world.status == 69);
}

TEST_CASE("queue tools: through the running daemon", "[tools]") {
  World world;
  const auto store = world.store();
  world.add(*store, "AAAA000001");
  net::Loop loop;
  const int listening = *net::listen_unix(world.path + "/q/public/control", 0600, 8);
  queue::ControlOptions options;
  options.listening_fd = listening;
  std::string listed, removed, after;
  REQUIRE(loop.spawn(net::Stack::session, [&] {
    const auto server = queue::ControlServer::start(*store, nullptr, options);
    net::offload([&] {
      listed = world.run(queue_main, {"-j"});
      removed = world.run(super_main, {"-d", "AAAA000001"});
      after = world.run(queue_main, {"-p"});
      world.run(queue_main, {"-f"});
    });
    loop.stop();
  }));
  loop.run();
  ::close(listening);
  CHECK(listed ==
        "{\"queue_name\": \"incoming\", \"queue_id\": \"AAAA000001\", \"arrival_time\": 1795263242, \"message_size\": 20, "
        "\"forced_expire\": false, \"sender\": \"s@a.test\", \"recipients\": [{\"address\": \"r@b.test\"}]}\n");
  CHECK(removed.find("postsuper: AAAA000001: removed\npostsuper: Deleted: 1 message\n") != std::string::npos);
  CHECK(after == "Mail queue is empty\n");
  CHECK(world.status == 0);
}

}  // namespace millrace::tools
