#include "core/rewrite/recipients.h"

#include <pwd.h>
#include <unistd.h>

#include <algorithm>

#include "core/base/strings.h"
#include "core/map/text.h"

namespace millrace::rewrite {

namespace {
constexpr std::size_t kAliasFileLimit = 64 * 1024 * 1024;

void add_users(std::set<std::string>& names) {
  setpwent();
  while (const passwd* user = getpwent()) names.insert(lower(user->pw_name));
  endpwent();
}
}  // namespace

std::set<std::string> alias_names(std::string_view text) {
  std::set<std::string> out;
  map::LineReader reader(text);
  while (reader.next()) {
    bool quoted = false;
    std::string name;
    for (const char c : reader.line()) {
      if (c == '"') quoted = !quoted;
      else if (c == ':' && !quoted) break;
      else name += c;
    }
    const std::string_view bare = trim(name);
    if (!bare.empty() && name.size() < reader.line().size()) out.insert(lower(bare));
  }
  return out;
}

Result<LocalRecipients> LocalRecipients::make(const config::Config* config, const config::Params& params,
                                              map::TableSet& tables) {
  const auto is_ours = [&](std::string_view parameter) { return config == nullptr || config->is_set(parameter); };
  const bool recipients_set = is_ours("local_recipient_maps"), aliases_set = is_ours("alias_maps");
  const std::vector<std::string> aliases = map::split_list(params.alias_maps);
  LocalRecipients out;
  const std::vector<std::string> words = map::split_list(params.local_recipient_maps);
  out.accepts_all_ = words.empty();
  std::string others;
  for (const std::string& word : words) {
    if (word == "proxy:unix:passwd.byname" || word == "unix:passwd.byname") {
      add_users(out.names_);
      continue;
    }
    const bool is_alias = std::find(aliases.begin(), aliases.end(), word) != aliases.end();
    const bool may_be_missing = !(is_alias ? aliases_set : recipients_set);
    const std::string_view type = map::table_type(word);
    if (may_be_missing && map::type_status(type) == map::TypeStatus::elsewhere) continue;
    if (is_alias && (type == "hash" || type == "btree" || type == "lmdb")) {
      std::string path = word.substr(type.size() + 1);
      if (path.empty() || path[0] != '/') path = params.config_directory + "/" + path;
      if (::access((path + ".lmdb").c_str(), F_OK) != 0) {
        const auto text = map::read_file(path, kAliasFileLimit);
        if (text) out.names_.merge(alias_names(*text));
        if (!text && !may_be_missing) return fail(Errc::config, "local_recipient_maps: " + text.error().context);
        continue;
      }
    }
    others += word + " ";
  }
  auto maps = map::Maps::open(tables, others);
  if (!maps) return fail("local_recipient_maps", maps.error());
  out.maps_ = std::move(*maps);
  return out;
}

Result<bool> LocalRecipients::knows(std::string_view address, std::string_view recipient_delimiter) const {
  const std::string local = lower(address.substr(0, address.rfind('@')));
  const auto [user, extension] = map::split_extension(local, recipient_delimiter);
  if (names_.contains(local) || names_.contains(std::string(user))) return true;
  const auto found = maps_.find_address(address, recipient_delimiter, [](std::string_view) { return true; }, nullptr);
  if (!found) return tl::unexpected(found.error());
  return found->has_value();
}

}  // namespace millrace::rewrite
