// Fields keep the names a plugin read them under, whatever it edits.
#include <catch2/catch.hpp>

#include "core/plugin/handles.h"
#include "core/plugin/header_layout.h"

using namespace millrace;
using plugin::HeaderLayout;

TEST_CASE("header layout: edits move fields, their names stay", "[plugin]") {
  std::vector<mime::Header> headers = {mime::Header::make("Received", "ours"), mime::Header::make("A", "1"),
                                       mime::Header::make("B", "1"), mime::Header::make("a", "2"), mime::Header::make("A", "3")};
  headers[0].own_received = true;
  HeaderLayout layout(headers);
  CHECK_FALSE(layout.locate("Received", 1));
  CHECK(layout.locate("a", 3) == 3u);
  CHECK_FALSE(layout.locate("A", 4));
  CHECK_FALSE(layout.locate("A", 0));
  layout.erase("A", 1);
  CHECK_FALSE(layout.locate("A", 1));
  CHECK(layout.locate("A", 2) == 1u);
  CHECK(layout.locate("A", 3) == 2u);
  CHECK(layout.insert(1, "X") == 1u);    // above B, below ours: A is gone
  CHECK(layout.insert(0, "A") == 2u);    // its field is gone: above the next one left
  CHECK(layout.locate("A", 2) == 2u);    // the new one counts for the journal
  layout.prepend("A");
  CHECK(layout.locate("A", 3) == 4u);
  CHECK(layout.insert(99, "Z") == 7u);
  layout.add("B");
  CHECK(layout.locate("B", 1) == 1u);
}

TEST_CASE("handles: a stale one is refused, also when its slot is used again", "[plugin]") {
  plugin::HandleTable<int> one(1), two(2);
  const auto a = one.add(std::make_shared<int>(1));
  const auto b = two.add(std::make_shared<int>(2));
  CHECK(*one.find(a) == 1);
  CHECK_FALSE(one.find(b));   // another kind
  CHECK_FALSE(one.find(0));
  CHECK_FALSE(one.find(~0ull));
  one.remove(a);
  one.remove(a);
  CHECK_FALSE(one.find(a));
  const auto c = one.add(std::make_shared<int>(3));
  CHECK(c != a);
  CHECK_FALSE(one.find(a));
  one.remove(a);
  CHECK(*one.find(c) == 3);
  CHECK(one.size() == 1);
}
