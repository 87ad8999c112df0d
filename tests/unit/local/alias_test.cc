#include <catch2/catch.hpp>

#include "core/local/alias_list.h"
#include "core/local/alias_maps.h"
#include "core/local/report.h"

using namespace millrace;
using namespace millrace::local;

namespace {
std::string shown(const std::vector<Destination>& list) {
  std::string out;
  for (const Destination& one : list) out += std::string("a|/:").substr(static_cast<std::size_t>(one.kind), 1) + one.text + ";";
  return out;
}
std::string parsed(std::string_view text) { return shown(parse_destinations(text)); }
}  // namespace

TEST_CASE("alias values: addresses, commands, files, lists", "[local][alias]") {
  CHECK(parsed("a@b, c , \"d e\"@f") == "aa@b;ac;ad e@f;");
  CHECK(parsed("\"|/bin/x -a, 'b'\", |\"exit 67\", |/bin/y z") == "|/bin/x -a, 'b';|exit 67;|/bin/y z;");
  CHECK(parsed("/var/file, \"/a b/\"") == "//var/file;//a b/;");
  CHECK(parsed(":include:/etc/list,:INCLUDE:/x") == ":/etc/list;:/x;");
  CHECK(parsed("(note, here) Some One <x@y> (more), \"Last, First\" <z@y>") == "ax@y;az@y;");
  CHECK(parsed("\\root, a\\,b@c") == "a\\root;aa,b@c;");
  CHECK(parsed(" , ,\"\",(x)").empty());
  CHECK(parsed("\"open") == "aopen;");
  CHECK(parsed("|cmd < in") == "|cmd < in;");
}

TEST_CASE("alias values: a file has comments and lines of its own", "[local][alias]") {
  CHECK(shown(parse_destination_file("# all\na@b\n\n c@d, e@f\n#x\n|/bin/x\n")) == "aa@b;ac@d;ae@f;|/bin/x;");
  std::string many;
  for (int i = 0; i < 20000; ++i) many += "a,";
  CHECK(parse_destinations(many).size() == kMaxDestinations);
}

TEST_CASE("alias file: names in lower case, quoted or not, lines continued", "[local][alias]") {
  const auto names = parse_alias_file("# c\nPostmaster: root\n\"a: b\" : x,\n  y\nnothing\nempty:\nroot:z\n");
  CHECK(names.size() == 3);
  CHECK(names.at("postmaster") == "root");
  CHECK(names.at("a: b").starts_with("x,"));
  CHECK(names.at("root") == "z");
}

TEST_CASE("commands: a shell only where one is needed", "[local][alias]") {
  CHECK(plain_command("/usr/bin/x -a b@c") == std::vector<std::string>{"/usr/bin/x", "-a", "b@c"});
  for (const char* text : {"x | y", "x > y", "echo $HOME", "a;b", "x 'y'", "`id`"}) {
    CAPTURE(text);
    CHECK(plain_command(text).empty());
  }
}

TEST_CASE("delivery report: whole or nothing", "[local][report]") {
  std::string bytes;
  encode(Record{Record::Kind::address, {}, "", "a@b"}, bytes);
  encode(Record{Record::Kind::outcome, deliver::Outcome::Status::sent, "2.0.0", "delivered to mailbox"}, bytes);
  CHECK_FALSE(decode_report(bytes));   // the task died before its end
  encode(Record{Record::Kind::end, {}, "", ""}, bytes);
  const auto records = decode_report(bytes);
  REQUIRE(records);
  CHECK(records->size() == 3);
  CHECK(records->at(1).text == "delivered to mailbox");
  for (std::size_t n = 0; n < bytes.size(); ++n) CHECK_FALSE(decode_report(bytes.substr(0, n)));
  CHECK_FALSE(decode_report(bytes + bytes));
}
