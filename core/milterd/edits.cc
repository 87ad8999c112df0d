// Comparing a message before and after: see edits.h.
#include "core/milterd/edits.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/base/strings.h"

namespace millrace::milterd {
namespace {

using mime::Header;

// Beyond this many pairs the middle is not aligned but replaced: the cost is bounded, the result the same.
constexpr std::size_t kMostPairs = 4'000'000;

bool same(const Header& a, const Header& b) { return a.own_received == b.own_received && a.text() == b.text(); }

constexpr std::size_t npos = static_cast<std::size_t>(-1);

// Both write, for each field of `before`, where it stands in `after`: in order, and as many as they find.

// A longest common subsequence.
void align_best(std::span<const Header> before, std::span<const Header> after, std::size_t offset, std::size_t* place) {
  std::vector<std::uint32_t> longest((before.size() + 1) * (after.size() + 1), 0);
  const auto at = [&](std::size_t row, std::size_t column) -> std::uint32_t& { return longest[row * (after.size() + 1) + column]; };
  for (std::size_t row = before.size(); row-- > 0;) {
    for (std::size_t column = after.size(); column-- > 0;) {
      at(row, column) = same(before[row], after[column]) ? at(row + 1, column + 1) + 1 : std::max(at(row + 1, column), at(row, column + 1));
    }
  }
  for (std::size_t row = 0, column = 0; row < before.size() && column < after.size();) {
    if (same(before[row], after[column])) {
      place[row++] = offset + column++;
    } else if (at(row + 1, column) >= at(row, column + 1)) {
      ++row;
    } else {
      ++column;
    }
  }
}

// The nearest that fits, not far ahead.
void align_near(std::span<const Header> before, std::span<const Header> after, std::size_t offset, std::size_t* place) {
  constexpr std::size_t kAhead = 64;
  for (std::size_t row = 0, next = 0; row < before.size(); ++row) {
    for (std::size_t column = next; column < std::min(next + kAhead, after.size()); ++column) {
      if (!same(before[row], after[column])) continue;
      place[row] = offset + column;
      next = column + 1;
      break;
    }
  }
}

void align_part(std::span<const Header> before, std::span<const Header> after, std::size_t offset, std::size_t* place) {
  while (!before.empty() && !after.empty() && same(before.back(), after.back())) {
    place[before.size() - 1] = offset + after.size() - 1;
    before = before.first(before.size() - 1);
    after = after.first(after.size() - 1);
  }
  while (!before.empty() && !after.empty() && same(before.front(), after.front())) {
    *place++ = offset++;
    before = before.subspan(1);
    after = after.subspan(1);
  }
  if (before.empty() || after.empty()) return;
  before.size() > kMostPairs / after.size() ? align_near(before, after, offset, place) : align_best(before, after, offset, place);
}

// The MTA's own field stays where it is: what is above it and what is below it are two lists.
std::vector<std::size_t> align(std::span<const Header> before, std::span<const Header> after) {
  std::vector<std::size_t> place(before.size(), npos);
  const auto own = [](std::span<const Header> list) {
    const auto at = std::find_if(list.begin(), list.end(), [](const Header& h) { return h.own_received; });
    return static_cast<std::size_t>(at - list.begin());
  };
  const std::size_t b = own(before), a = own(after);
  if (b == before.size() || a == after.size()) {
    align_part(before, after, 0, place.data());
    return place;
  }
  align_part(before.first(b), after.first(a), 0, place.data());
  place[b] = a;
  align_part(before.subspan(b + 1), after.subspan(a + 1), a + 1, place.data() + b + 1);
  return place;
}

}  // namespace

std::vector<HeaderStep> header_steps(std::span<const Header> before, std::span<const Header> after) {
  std::vector<std::size_t> place = align(before, after);
  std::vector<bool> taken(after.size(), false);
  for (const std::size_t one : place) {
    if (one != npos) taken[one] = true;
  }
  // A field that went and one of the same name that came in the same gap are a change.
  std::vector<bool> changed(before.size(), false);
  std::size_t next = 0;   // the gap in `after` begins here
  for (std::size_t i = 0; i < before.size(); ++i) {
    if (place[i] != npos) {
      next = place[i] + 1;
      continue;
    }
    for (std::size_t j = next; j < after.size() && !taken[j]; ++j) {
      if (before[i].own_received || after[j].own_received || !iequals(before[i].name(), after[j].name())) continue;
      place[i] = j;
      taken[j] = changed[i] = true;
      next = j + 1;
      break;
    }
  }
  // Changes and deletions from the bottom up: what is counted above does not move meanwhile.
  std::vector<HeaderStep> steps;
  for (std::size_t i = before.size(); i-- > 0;) {
    const bool removed = place[i] == npos;
    if ((!removed && !changed[i]) || before[i].own_received) continue;
    const auto nth = std::count_if(before.begin(), before.begin() + static_cast<std::ptrdiff_t>(i) + 1, [&](const Header& h) {
      return !h.own_received && iequals(h.name(), before[i].name());
    });
    steps.push_back({removed ? HeaderStep::Kind::remove : HeaderStep::Kind::change, static_cast<std::size_t>(nth),
                     removed ? &before[i] : &after[place[i]]});
  }
  // What is left is in the order of `after`, so insertions from the top down land where they stand there.
  for (std::size_t j = 0; j < after.size(); ++j) {
    if (!taken[j] && !after[j].own_received) steps.push_back({HeaderStep::Kind::insert, j, &after[j]});
  }
  return steps;
}

std::string reply_text(int code, std::string_view enhanced, std::string_view text) {
  const char code_class = static_cast<char>('0' + code / 100);
  std::string status(enhanced);
  if (status.size() < 5 || status[0] != code_class) status = fmt::format("{}.0.0", code_class);
  std::string out;
  for (;;) {
    const std::size_t end = text.find('\n');
    const std::string line = printable(text.substr(0, end));
    out += fmt::format("{}{}{} ", code, end == text.npos ? ' ' : '-', status);
    for (const char c : line) out.append(c == '%' ? 2 : 1, c);
    if (end == text.npos) return out;
    out += "\r\n";
    text.remove_prefix(end + 1);
  }
}

}  // namespace millrace::milterd
