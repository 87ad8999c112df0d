// List parameters of names and addresses (postconf(5), mynetworks, mydestination; match_list(3)).
#include <algorithm>

#include "core/base/strings.h"
#include "core/map/network.h"
#include "core/map/table.h"
#include "core/map/text.h"

namespace millrace::map {

namespace {
constexpr std::size_t kListFileLimit = 16 * 1024 * 1024;
constexpr int kMaxIncludes = 10;   // files that name files
}  // namespace

struct MatchList::Impl {
  struct Item {
    bool negated = false;
    std::string text;                  // lower case
    std::shared_ptr<Table> table;      // or a table
    std::optional<Network> network;    // or a network
  };
  Kind kind = Kind::string;
  bool parent_matches = false;
  std::vector<Item> items;

  Result<void> add(TableSet& tables, std::string_view value, bool negated, int depth);
  Result<bool> name_matches(const Item& item, std::string_view name) const;
  Result<bool> address_matches(const Item& item, std::string_view address) const;
};

Result<void> MatchList::Impl::add(TableSet& tables, std::string_view value, bool negated, int depth) {
  for (const std::string& word : split_list(value)) {
    std::string_view pattern = word;
    Item item;
    item.negated = negated;
    while (!pattern.empty() && pattern[0] == '!') {
      item.negated = !item.negated;
      pattern.remove_prefix(1);
    }
    if (pattern.empty()) return fail(Errc::config, "no pattern after '!' in \"" + printable(value) + "\"");
    if (pattern[0] == '/') {
      if (depth >= kMaxIncludes) return fail(Errc::config, std::string(pattern) + ": files include each other");
      const auto text = read_file(std::string(pattern), kListFileLimit);
      if (!text) return fail(Errc::config, text.error().context);
      LineReader reader(*text);
      while (reader.next()) {
        if (auto added = add(tables, reader.line(), item.negated, depth + 1); !added) return added;
      }
      continue;
    }
    // As Postfix: an IPv6 pattern stands in brackets, any other colon makes a table.
    if (pattern[0] != '[' && pattern.find(':') != pattern.npos) {
      auto table = tables.open(pattern);
      if (!table) return tl::unexpected(table.error());
      item.table = std::move(*table);
    } else if (kind == Kind::address && (pattern[0] == '[' || pattern.find('/') != pattern.npos)) {
      const auto network = parse_network(pattern);
      if (!network) return fail(Errc::config, network.error().context);
      item.network = *network;
    } else {
      if (kind == Kind::address) {
        if (const auto address = parse_address(pattern)) item.network = Network{*address, address->bits};
      }
      item.text = lower(pattern);
    }
    items.push_back(std::move(item));
  }
  return {};
}

Result<bool> MatchList::Impl::name_matches(const Item& item, std::string_view name) const {
  if (item.table) {
    // Parents are asked for in indexed tables only: "a.b.c", then "b.c" or ".b.c", ….
    for (std::string_view part = name; !part.empty();) {
      const auto found = item.table->find(part);
      if (!found) return tl::unexpected(found.error());
      if (*found) return true;
      if (item.table->is_pattern() || kind == Kind::string) break;
      const std::size_t dot = part.find('.', 1);
      if (dot == part.npos) break;
      part.remove_prefix(dot + (parent_matches ? 1 : 0));
    }
    return false;
  }
  if (item.text.empty()) return false;
  if (iequals(name, item.text)) return true;
  if (kind == Kind::string) return false;
  if (parent_matches)
    return name.size() > item.text.size() && name[name.size() - item.text.size() - 1] == '.' &&
           iends_with(name, item.text);
  return item.text[0] == '.' && name.size() > item.text.size() && iends_with(name, item.text);
}

Result<bool> MatchList::Impl::address_matches(const Item& item, std::string_view address) const {
  if (item.table) {
    const auto found = item.table->find(address);
    if (!found) return tl::unexpected(found.error());
    return found->has_value();
  }
  if (!item.network) return !item.text.empty() && iequals(item.text, address);
  const auto parsed = parse_address(address);
  return parsed && item.network->contains(*parsed);
}

MatchList::MatchList() : impl_(std::make_shared<Impl>()) {}
MatchList::~MatchList() = default;
MatchList::MatchList(MatchList&&) noexcept = default;
MatchList& MatchList::operator=(MatchList&&) noexcept = default;

Result<MatchList> MatchList::open(TableSet& tables, std::string_view value, Kind kind, bool parent_matches) {
  auto impl = std::make_shared<Impl>();
  impl->kind = kind;
  impl->parent_matches = parent_matches;
  if (auto added = impl->add(tables, value, false, 0); !added) return tl::unexpected(added.error());
  MatchList out;
  out.impl_ = std::move(impl);
  return out;
}

Result<bool> MatchList::matches(std::string_view text) const {
  for (const Impl::Item& item : impl_->items) {
    const auto hit = impl_->kind == Kind::address ? impl_->address_matches(item, text) : impl_->name_matches(item, text);
    if (!hit) return hit;
    if (*hit) return !item.negated;
  }
  return false;
}

Result<bool> MatchList::matches_host(std::string_view name, std::string_view address) const {
  for (const Impl::Item& item : impl_->items) {
    for (const bool by_name : {true, false}) {
      const auto hit = by_name ? impl_->name_matches(item, name) : impl_->address_matches(item, address);
      if (!hit) return hit;
      if (*hit) return !item.negated;
    }
  }
  return false;
}

bool MatchList::may_suspend() const {
  return std::any_of(impl_->items.begin(), impl_->items.end(),
                     [](const Impl::Item& item) { return item.table && item.table->may_suspend(); });
}

bool MatchList::empty() const { return impl_->items.empty(); }

}  // namespace millrace::map
