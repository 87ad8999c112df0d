#include "core/queue/in_flight.h"

#include "queue_support.h"

namespace millrace::queue {

TEST_CASE("queue in-flight marks: what was not cleared is found once", "[queue]") {
  const TemporaryDirectory directory;
  const std::string path = directory.path + "/inflight";
  {
    InFlight table;
    CHECK(table.open(path)->empty());
    REQUIRE(table.mark("AAAA"));
    REQUIRE(table.mark("BBBB"));
    REQUIRE(table.mark("BBBB"));
    table.clear("AAAA");
    table.clear("CCCC");
  }
  InFlight table;
  CHECK(*table.open(path) == std::vector<std::string>{"BBBB"});
  InFlight again;
  CHECK(again.open(path)->empty());
}

TEST_CASE("queue in-flight marks: the table grows", "[queue]") {
  const TemporaryDirectory directory;
  const std::string path = directory.path + "/inflight";
  {
    InFlight table;
    REQUIRE(table.open(path));
    for (int i = 0; i < 5000; ++i) REQUIRE(table.mark("ID" + std::to_string(i)));
    for (int i = 0; i < 4999; ++i) table.clear("ID" + std::to_string(i));
  }
  InFlight table;
  CHECK(*table.open(path) == std::vector<std::string>{"ID4999"});
}

TEST_CASE("queue in-flight marks: rubbish in the file is no mark", "[queue]") {
  const TemporaryDirectory directory;
  const std::string path = directory.path + "/inflight";
  const int fd = ::open(path.c_str(), O_CREAT | O_WRONLY, 0600);
  const std::string junk(100, '/');
  REQUIRE(::write(fd, junk.data(), junk.size()) == 100);
  ::close(fd);
  InFlight table;
  CHECK(table.open(path)->empty());
}

}  // namespace millrace::queue
