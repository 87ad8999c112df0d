#include "core/rewrite/recipients.h"

#include <unistd.h>

#include <algorithm>

#include "core/base/strings.h"

namespace millrace::rewrite {

namespace {
// Is there neither FILE.lmdb nor FILE?
bool is_missing(std::string_view word, const std::string& config_directory) {
  const std::string_view type = map::table_type(word);
  if (type != "hash" && type != "btree" && type != "lmdb") return false;
  std::string path(word.substr(type.size() + 1));
  if (path.empty() || path[0] != '/') path = config_directory + "/" + path;
  return ::access((path + ".lmdb").c_str(), F_OK) != 0 && ::access(path.c_str(), F_OK) != 0;
}
}  // namespace

Result<LocalRecipients> LocalRecipients::make(const config::Config* config, const config::Params& params,
                                              map::TableSet& tables) {
  const auto is_ours = [&](std::string_view parameter) { return config == nullptr || config->is_set(parameter); };
  const bool recipients_set = is_ours("local_recipient_maps"), aliases_set = is_ours("alias_maps");
  const std::vector<std::string> aliases = map::split_list(params.alias_maps);
  LocalRecipients out;
  const std::vector<std::string> words = map::split_list(params.local_recipient_maps);
  out.accepts_all_ = words.empty();
  std::vector<std::shared_ptr<map::Table>> opened;
  for (const std::string& word : words) {
    const bool is_alias = std::find(aliases.begin(), aliases.end(), word) != aliases.end();
    const bool may_be_missing = !(is_alias ? aliases_set : recipients_set);
    if (may_be_missing && map::type_status(map::table_type(word)) == map::TypeStatus::elsewhere) continue;
    if (may_be_missing && is_alias && is_missing(word, params.config_directory)) continue;
    auto table = is_alias ? tables.open_aliases(word) : tables.open(word);
    if (!table) return fail("local_recipient_maps", table.error());
    opened.push_back(std::move(*table));
  }
  out.maps_ = map::Maps(std::move(opened));
  return out;
}

Result<bool> LocalRecipients::knows(std::string_view address, std::string_view recipient_delimiter) const {
  const auto found = maps_.find_address(address, recipient_delimiter, [](std::string_view) { return true; }, nullptr);
  if (!found) return tl::unexpected(found.error());
  return found->has_value();
}

}  // namespace millrace::rewrite
