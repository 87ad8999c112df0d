#include "core/milterd/edits.h"

#include <catch2/catch.hpp>
#include <random>

#include "core/base/strings.h"
#include "core/milter/wire.h"

using namespace millrace;
using namespace millrace::milterd;
using mime::Header;

namespace {

Header field(const std::string& name, const std::string& value, bool own = false) {
  Header out = Header::make(name, value);
  out.own_received = own;
  return out;
}

// What an MTA makes of the steps; its own Received is at the place of the one marked so.
std::vector<Header> carried_out(std::vector<Header> headers, const std::vector<HeaderStep>& steps) {
  for (const HeaderStep& step : steps) {
    if (step.kind == HeaderStep::Kind::insert) {
      REQUIRE(step.index <= headers.size());
      headers.insert(headers.begin() + static_cast<std::ptrdiff_t>(step.index), *step.header);
      continue;
    }
    std::size_t n = step.index;
    const auto found = std::find_if(headers.begin(), headers.end(), [&](const Header& h) {
      return !h.own_received && iequals(h.name(), step.header->name()) && --n == 0;
    });
    REQUIRE(found != headers.end());
    if (step.kind == HeaderStep::Kind::remove) {
      headers.erase(found);
    } else {
      *found = *step.header;
    }
  }
  return headers;
}

std::vector<std::string> texts(const std::vector<Header>& headers) {
  std::vector<std::string> out;
  for (const Header& header : headers) out.push_back((header.own_received ? "own " : "") + header.text());
  return out;
}

}  // namespace

TEST_CASE("milterd edits: the steps lead from the one list to the other", "[milterd][edits]") {
  std::mt19937 random(42);
  const auto below = [&](std::size_t n) { return static_cast<std::size_t>(random() % n); };
  for (int round = 0; round < 3000; ++round) {
    std::vector<Header> before{field("Received", "ours", true)};
    for (std::size_t i = below(8); i-- > 0;) before.push_back(field(below(2) ? "A" : "Received", std::to_string(below(4))));
    std::vector<Header> after = before;
    for (std::size_t i = below(6); i-- > 0;) {
      const std::size_t at = below(after.size() + 1);
      const auto place = after.begin() + static_cast<std::ptrdiff_t>(at);
      if (at == after.size() || below(3) == 0) {
        after.insert(place, field(below(2) ? "a" : "B", std::to_string(below(4))));
      } else if (!place->own_received && below(2) == 0) {
        after.erase(place);
      } else if (!place->own_received) {
        *place = field(std::string(place->name()), "changed " + std::to_string(below(4)));
      }
    }
    REQUIRE(texts(carried_out(before, header_steps(before, after))) == texts(after));
  }
}

TEST_CASE("milterd edits: few steps for small changes, bounded work for large ones", "[milterd][edits]") {
  std::vector<Header> before{field("Received", "ours", true)}, after = before;
  for (int i = 0; i < 5000; ++i) before.push_back(field("X-" + std::to_string(i % 7), std::to_string(i)));
  for (int i = 0; i < 5000; ++i) after.push_back(field("X-" + std::to_string(i % 5), "n" + std::to_string(i)));
  CHECK(texts(carried_out(before, header_steps(before, after))) == texts(after));

  after = before;
  after[2500] = field("X-0", "other");
  after.insert(after.begin(), field("Top", "1"));
  after.push_back(field("Bottom", "1"));
  const auto steps = header_steps(before, after);
  CHECK(steps.size() <= 4);
  CHECK(texts(carried_out(before, steps)) == texts(after));
  CHECK(header_steps(before, before).empty());
}

TEST_CASE("milterd edits: replies", "[milterd][edits]") {
  CHECK(reply_text(550, "5.7.1", "no") == "550 5.7.1 no");
  CHECK(reply_text(550, "5.7.1", "first\n100% last") == "550-5.7.1 first\r\n550 5.7.1 100%% last");
  CHECK(reply_text(451, "5.7.1", "x") == "451 4.0.0 x");
  CHECK(reply_text(451, "", "x\ry") == "451 4.0.0 x?y");
  const auto back = milter::parse_reply_text(reply_text(550, "5.7.1", "first\n100% last") + '\0');
  REQUIRE(back);
  CHECK(back->code == 550);
  CHECK(back->text == "first\n100% last");
}
