// Several tables as one, and the search orders over them.
#include <algorithm>
#include <atomic>

#include "core/base/strings.h"
#include "core/map/table.h"
#include "core/map/text.h"

namespace millrace::map {

namespace {
std::atomic<bool> owner_request_special{true};
}  // namespace

void set_owner_request_special(bool special) { owner_request_special = special; }

std::pair<std::string_view, std::string_view> split_extension(std::string_view local,
                                                              std::string_view delimiters) {
  if (delimiters.empty()) return {local, {}};
  for (const std::string_view whole : {"postmaster", "mailer-daemon", "double-bounce"}) {
    if (iequals(local, whole)) return {local, {}};
  }
  // With '-' as delimiter the names of mailing lists' helpers stay whole (owner_request_special).
  if (owner_request_special && delimiters.find('-') != delimiters.npos &&
      ((istarts_with(local, "owner-") && local.size() > 6) || (iends_with(local, "-request") && local.size() > 8)))
    return {local, {}};
  const std::size_t cut = local.find_first_of(delimiters);
  if (cut == local.npos || cut == 0) return {local, {}};
  return {local.substr(0, cut), local.substr(cut)};
}

Result<Maps> Maps::open(TableSet& tables, std::string_view parameter_value) {
  Maps out;
  for (const std::string& item : split_list(parameter_value)) {
    auto table = tables.open(item);
    if (!table) return tl::unexpected(table.error());
    out.tables_.push_back(std::move(*table));
  }
  return out;
}

Lookup Maps::search(std::string_view key, Keys keys) const {
  for (const auto& table : tables_) {
    if (keys == Keys::indexed && table->is_pattern()) continue;
    auto result = table->find(key);
    if (!result || *result) return result;
  }
  return std::optional<std::string>();
}

bool Maps::may_suspend() const {
  return std::any_of(tables_.begin(), tables_.end(), [](const auto& table) { return table->may_suspend(); });
}

Lookup Maps::find(std::string_view key) const { return search(key, Keys::all); }
Lookup Maps::find_partial(std::string_view key) const { return search(key, Keys::indexed); }

Lookup Maps::search_forms(std::string_view internal, Keys keys) const {
  const std::string external = quote_address(internal);
  auto result = search(external, keys);
  if (!result || *result || external == internal) return result;
  return search(internal, keys);
}

Lookup Maps::find_address(std::string_view address, std::string_view recipient_delimiter,
                          const std::function<bool(std::string_view)>& is_local,
                          std::string* extension) const {
  if (extension) extension->clear();
  const std::size_t at = address.rfind('@');
  const std::string_view local = address.substr(0, at);
  const std::string_view domain = at == address.npos ? "" : address.substr(at);   // with its '@'
  const auto [user, suffix] = split_extension(local, recipient_delimiter);
  const auto found_bare = [&, suffix = suffix](Lookup& result) {
    if (result && *result && extension) *extension = suffix;
    return !result || *result;
  };
  Lookup result = search_forms(address, Keys::all);
  if (!result || *result) return result;
  const std::string bare = std::string(user).append(domain);
  if (!suffix.empty()) {
    result = search_forms(bare, Keys::indexed);
    if (found_bare(result)) return result;
  }
  if (domain.empty()) return result;
  if (is_local && is_local(domain.substr(1))) {
    result = search_forms(local, Keys::indexed);
    if (!result || *result) return result;
    if (!suffix.empty()) {
      result = search_forms(user, Keys::indexed);
      if (found_bare(result)) return result;
    }
  }
  return search(domain, Keys::indexed);
}

}  // namespace millrace::map
