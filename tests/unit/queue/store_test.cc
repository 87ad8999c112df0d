#include "core/queue/store.h"

#include <lmdb.h>

#include <filesystem>
#include <thread>

#include "queue_support.h"

namespace millrace::queue {
namespace {

std::vector<Summary> all(Store& store) {
  std::vector<Summary> out;
  REQUIRE(store.for_each([&](const Summary& summary) {
    out.push_back(summary);
    return true;
  }));
  return out;
}

std::size_t side_file_count(const std::string& directory) {
  std::size_t count = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(directory + "/side")) {
    if (entry.is_regular_file()) ++count;
  }
  return count;
}

// Overwrites the only occurrence of `from` in the file.
void damage(const std::string& path, const std::string& from, const std::string& to) {
  const int fd = ::open(path.c_str(), O_RDWR);
  std::string bytes(std::filesystem::file_size(path), '\0');
  REQUIRE(::pread(fd, bytes.data(), bytes.size(), 0) == static_cast<ssize_t>(bytes.size()));
  const std::size_t at = bytes.find(from);
  REQUIRE(at != std::string::npos);
  REQUIRE(::pwrite(fd, to.data(), to.size(), static_cast<off_t>(at)) == static_cast<ssize_t>(to.size()));
  ::close(fd);
}

}  // namespace

TEST_CASE("queue store: a message is there after reopening", "[queue]") {
  const TemporaryDirectory directory;
  {
    auto store = open_store(directory.path);
    REQUIRE(store->add(make_entry("AAAA0001", 2), "Subject: x\r\n\r\nbody\r\n", -1));
    REQUIRE(store->close());
  }
  auto store = open_store(directory.path);
  const Result<Entry> entry = store->load("AAAA0001");
  REQUIRE(entry);
  CHECK(entry->queue == QueueName::incoming);
  CHECK(entry->envelope.sender == "sender@example.org");
  CHECK(entry->recipients.size() == 2);
  CHECK(entry->recipients[1].recipient.address == "user1@example.net");
  const Result<Content> content = store->open_content("AAAA0001");
  REQUIRE(content);
  REQUIRE(content->memory() != nullptr);
  CHECK(*content->memory() == "Subject: x\r\n\r\nbody\r\n");
  CHECK(content->size() == 20);
  const std::vector<Summary> list = all(*store);
  REQUIRE(list.size() == 1);
  CHECK(list[0].queue_id == "AAAA0001");
  CHECK(list[0].sender == "sender@example.org");
  CHECK(list[0].size == 20);
  CHECK(list[0].arrival == 1700000000000000);
}

TEST_CASE("queue store: an id in use is not overwritten", "[queue]") {
  const TemporaryDirectory directory;
  auto store = open_store(directory.path);
  REQUIRE(store->add(make_entry("AAAA0001"), "one", -1));
  CHECK(store->add(make_entry("AAAA0001"), "two", -1).error().code == Errc::exists);
  CHECK(store->add(make_entry("AAAA0001"), "two", temporary_file(directory.path, "x")).error().code == Errc::exists);
  CHECK(*store->open_content("AAAA0001")->memory() == "one");
  CHECK_FALSE(store->add(make_entry("../x"), "two", -1));
}

TEST_CASE("queue store: large content is a side file, with what stands before it", "[queue]") {
  const TemporaryDirectory directory;
  const std::string body(300000, 'b');
  {
    auto store = open_store(directory.path);
    REQUIRE(store->add(make_entry("AAAA0001"), "Header: x\r\n\r\n", temporary_file(directory.path, body)));
    REQUIRE(store->add(make_entry("AAAA0002"), body, -1));
    REQUIRE(store->close());
  }
  CHECK(side_file_count(directory.path) == 2);
  auto store = open_store(directory.path);
  CHECK(side_file_count(directory.path) == 2);
  Result<Content> content = store->open_content("AAAA0001");
  REQUIRE(content);
  CHECK(content->memory() == nullptr);
  CHECK(read_all(*content) == "Header: x\r\n\r\n" + body);
  CHECK(all(*store)[0].size == body.size() + 13);
  CHECK(read_all(*store->open_content("AAAA0002")) == body);
  Update remove{"AAAA0001"};
  remove.remove = true;
  REQUIRE(store->apply(remove));
  CHECK(store->load("AAAA0001").error().code == Errc::not_found);
  store.reset();
  CHECK(side_file_count(directory.path) == 1);
}

TEST_CASE("queue store: orphaned side files are swept at start", "[queue]") {
  const TemporaryDirectory directory;
  open_store(directory.path).reset();
  const int fd = ::open((directory.path + "/side/00/ORPHAN").c_str(), O_CREAT | O_WRONLY, 0600);
  ::close(fd);
  CHECK(side_file_count(directory.path) == 1);
  auto store = open_store(directory.path);
  CHECK(side_file_count(directory.path) == 0);
}

TEST_CASE("queue store: a file with a name is not taken as content", "[queue]") {
  const TemporaryDirectory directory;
  auto store = open_store(directory.path);
  const int fd = ::open((directory.path + "/named").c_str(), O_CREAT | O_RDWR, 0600);
  CHECK(store->add(make_entry("AAAA0001"), "", fd).error().code == Errc::io);
  CHECK(all(*store).empty());
}

TEST_CASE("queue store: recipients are marked one by one", "[queue]") {
  const TemporaryDirectory directory;
  auto store = open_store(directory.path);
  REQUIRE(store->add(make_entry("AAAA0001", 1000), "x", -1));
  REQUIRE(store->add(make_entry("AAAA0002", 1), "x", -1));
  Update update{"AAAA0001"};
  RecipientState done;
  done.done = true;
  done.dsn = "2.0.0";
  done.action = "relayed";
  update.recipients.emplace_back(700, done);
  done.done = false;
  done.reason = "later";
  update.recipients.emplace_back(999, done);
  update.queue = QueueName::deferred;
  update.attempts = 1;
  update.next_attempt = 42;
  REQUIRE(store->apply(update));
  Result<Entry> entry = store->load("AAAA0001");
  REQUIRE(entry);
  CHECK(entry->queue == QueueName::deferred);
  CHECK(entry->attempts == 1);
  CHECK(entry->next_attempt == 42);
  CHECK(entry->recipients[700].done);
  CHECK(entry->recipients[700].recipient.address == "user700@example.net");
  CHECK_FALSE(entry->recipients[701].done);
  CHECK(entry->recipients[999].reason == "later");
  Update remove{"AAAA0001"};
  remove.remove = true;
  REQUIRE(store->apply(remove));
  REQUIRE(store->add(make_entry("AAAA0001", 1000), "x", -1));
  CHECK_FALSE(store->load("AAAA0001")->recipients[700].done);
  CHECK(store->load("AAAA0002"));
  CHECK(store->apply(Update{"NONE"}).error().code == Errc::not_found);
}

TEST_CASE("queue store: what may wait is committed within a second, and at the stop", "[queue]") {
  const TemporaryDirectory directory;
  auto store = open_store(directory.path);
  REQUIRE(store->add(make_entry("AAAA0001"), "x", -1));
  REQUIRE(store->add(make_entry("AAAA0002"), "x", -1));
  REQUIRE(store->add(make_entry("AAAA0003"), "x", -1));
  Update remove{"AAAA0001"};
  remove.remove = true;
  const TimePoint start = SteadyClock::now();
  store->apply_later(remove);
  while (store->load("AAAA0001")) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  CHECK(SteadyClock::now() - start < std::chrono::milliseconds(1500));
  CHECK(SteadyClock::now() - start > std::chrono::milliseconds(500));
  remove.queue_id = "AAAA0002";
  store->apply_later(remove);
  REQUIRE(store->commit_pending());
  CHECK_FALSE(store->load("AAAA0002"));
  remove.queue_id = "AAAA0003";
  store->apply_later(remove);
  REQUIRE(store->close());
  store.reset();
  CHECK(all(*open_store(directory.path)).empty());
}

TEST_CASE("queue store: ids are never given twice", "[queue]") {
  const TemporaryDirectory directory;
  std::uint64_t last = 0;
  for (int round = 0; round < 3; ++round) {
    auto store = open_store(directory.path);   // no close(): as after a crash
    for (int i = 0; i < 100; ++i) {
      const Result<std::uint64_t> first = store->reserve_ids(1024);
      REQUIRE(first);
      CHECK(*first > last);
      last = *first + 1023;
    }
    CHECK(store->syncs() <= 3);
  }
}

TEST_CASE("queue store: three deaths in flight and a message is corrupt", "[queue]") {
  const TemporaryDirectory directory;
  {
    auto store = open_store(directory.path);
    REQUIRE(store->add(make_entry("BAD00001"), "x", -1));
    REQUIRE(store->add(make_entry("GOOD0001"), "x", -1));
  }
  for (unsigned deaths = 0; deaths < 3; ++deaths) {
    auto store = open_store(directory.path);
    CHECK(store->load("BAD00001")->deaths == deaths);
    CHECK(store->load("BAD00001")->queue == QueueName::incoming);
    REQUIRE(store->mark_in_flight(std::vector<std::string>{"BAD00001", "GOOD0001"}));
    Update ended{"GOOD0001"};
    ended.queue = QueueName::deferred;
    store->apply_later(ended);
  }
  auto store = open_store(directory.path);
  CHECK(store->load("BAD00001")->queue == QueueName::corrupt);
  CHECK(store->load("GOOD0001")->deaths == 0);
}

TEST_CASE("queue store: a mark may come with the message, and count for nothing", "[queue]") {
  const TemporaryDirectory directory;
  {
    auto store = open_store(directory.path);
    Entry entry = make_entry("AAAA0001");
    entry.in_flight = true;
    REQUIRE(store->add(entry, "x", -1));
  }
  CHECK(open_store(directory.path)->load("AAAA0001")->deaths == 1);
  REQUIRE(open_store(directory.path)->mark_in_flight(std::vector<std::string>{"AAAA0001"}));
  StoreOptions options;
  options.directory = directory.path;
  options.count_deaths = false;
  CHECK((*Store::open(options))->load("AAAA0001")->deaths == 1);
}

TEST_CASE("queue store: active does not outlive the process", "[queue]") {
  const TemporaryDirectory directory;
  {
    auto store = open_store(directory.path);
    REQUIRE(store->add(make_entry("AAAA0001"), "x", -1));
    Update active{"AAAA0001"};
    active.queue = QueueName::active;
    REQUIRE(store->apply(active));
  }
  CHECK(open_store(directory.path)->load("AAAA0001")->queue == QueueName::incoming);
}

TEST_CASE("queue store: damage is found and stays with its message", "[queue]") {
  const TemporaryDirectory directory;
  const std::string body(100000, 'b');
  {
    auto store = open_store(directory.path);
    REQUIRE(store->add(make_entry("AAAA0001"), "the content of one", -1));
    REQUIRE(store->add(make_entry("AAAA0002"), "the content of two", -1));
    REQUIRE(store->add(make_entry("AAAA0003"), body, -1));
    REQUIRE(store->add(make_entry("AAAA0004"), body, -1));
    REQUIRE(store->close());
  }
  damage(directory.path + "/queue.mdb", "content of one", "c0ntent of one");
  for (const auto& file : std::filesystem::recursive_directory_iterator(directory.path + "/side")) {
    if (file.path().filename() == "AAAA0003") damage(file.path(), "bbbb", "bbbc");
    if (file.path().filename() == "AAAA0004") std::filesystem::remove(file.path());
  }
  auto store = open_store(directory.path);
  CHECK(store->open_content("AAAA0001").error().code == Errc::protocol);
  CHECK(*store->open_content("AAAA0002")->memory() == "the content of two");
  CHECK(store->open_content("AAAA0003").error().code == Errc::protocol);
  CHECK(store->open_content("AAAA0004").error().code == Errc::protocol);
  store->set_corrupt("AAAA0001", "content does not match its checksum");
  REQUIRE(store->commit_pending());
  CHECK(all(*store)[0].queue == QueueName::corrupt);
  CHECK(all(*store)[1].queue == QueueName::incoming);
}

TEST_CASE("queue store: the map grows while messages come", "[queue]") {
  const TemporaryDirectory directory;
  StoreOptions options;
  options.directory = directory.path;
  options.initial_map_bytes = 256 * 1024;
  options.sync = false;
  auto store = std::move(*Store::open(options));
  const std::string content(10000, 'c');
  on_fiber([&] {
    for (int i = 0; i < 500; ++i) {
      const std::string id = format_queue_id(static_cast<unsigned>(i) + 1, 0, false);
      REQUIRE(store->add(make_entry(id), content, -1));
      REQUIRE(store->load(id));
    }
  });
  CHECK(all(*store).size() == 500);
  CHECK(read_all(*store->open_content(format_queue_id(7, 0, false))) == content);
}

TEST_CASE("queue store: messages of many fibers share their syncs", "[queue]") {
  const TemporaryDirectory directory;
  auto store = open_store(directory.path);
  net::Loop loop;
  int left = 200;
  for (int i = 0; i < 200; ++i) {
    REQUIRE(loop.spawn(net::Stack::session, [&, i] {
      CHECK(store->add(make_entry(format_queue_id(static_cast<unsigned>(i) + 1, 0, false)), "x", -1));
      if (--left == 0) loop.stop();
    }));
  }
  loop.run();
  CHECK(all(*store).size() == 200);
  CHECK(store->syncs() < 150);   // about 5, on an idle machine
}

TEST_CASE("queue store: add_async answers on the loop", "[queue]") {
  const TemporaryDirectory directory;
  auto store = open_store(directory.path);
  net::Loop loop;
  int left = 100;
  loop.post([&] {
    const auto content = std::make_shared<const std::string>("x");
    for (int i = 0; i < 100; ++i) {
      store->add_async(make_entry(format_queue_id(static_cast<unsigned>(i) + 1, 0, false)), content,
                       [&](const Result<void>& result) {
                         CHECK(result);
                         CHECK(net::Loop::current_or_null() == &loop);
                         if (--left == 0) loop.stop();
                       });
    }
  });
  loop.run();
  CHECK(left == 0);
}

TEST_CASE("queue store: no space is an answer, and space is made all the same", "[queue]") {
  const TemporaryDirectory directory;
  {
    auto store = open_store(directory.path);
    REQUIRE(store->add(make_entry("AAAA0001"), "x", -1));
  }
  StoreOptions options;
  options.directory = directory.path;
  options.min_free_bytes = std::uint64_t{1} << 60;
  auto store = std::move(*Store::open(options));
  CHECK(store->add(make_entry("AAAA0002"), "x", -1).error().code == Errc::no_space);
  CHECK(store->add(make_entry("AAAA0002"), "", temporary_file(directory.path, "x")).error().code == Errc::no_space);
  Update remove{"AAAA0001"};
  remove.remove = true;
  CHECK(store->apply(remove));
  CHECK_FALSE(store->failed());
}

TEST_CASE("queue store: one process at a time", "[queue]") {
  const TemporaryDirectory directory;
  auto store = open_store(directory.path);
  StoreOptions options;
  options.directory = directory.path;
  CHECK(Store::open(options).error().code == Errc::refused);
  store.reset();
  CHECK(Store::open(options));
  options.directory += "/none";
  CHECK(Store::open(options).error().code == Errc::config);
}

}  // namespace millrace::queue
