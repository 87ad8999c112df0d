#include "core/local/alias_maps.h"

#include <sys/stat.h>

#include "core/base/strings.h"
#include "core/map/text.h"

namespace millrace::local {
namespace {
constexpr std::size_t kMaxFile = 64 * 1024 * 1024;
}

std::map<std::string, std::string> parse_alias_file(std::string_view text) {
  std::map<std::string, std::string> out;
  map::LineReader reader(text);
  while (reader.next()) {
    const std::string_view line = reader.line();
    bool quoted = false;
    std::string name;
    std::size_t at = 0;
    for (; at < line.size(); ++at) {
      if (line[at] == '\\' && quoted && at + 1 < line.size()) name += line[++at];
      else if (line[at] == '"') quoted = !quoted;
      else if (line[at] == ':' && !quoted) break;
      else name += line[at];
    }
    const std::string key = lower(trim(name));
    if (at >= line.size() || key.empty()) continue;
    const std::string_view value = trim(line.substr(at + 1));
    if (!value.empty()) out.emplace(key, value);
  }
  return out;
}

Result<void> AliasMaps::read_text(Source& source) {
  struct stat info{};
  if (::stat(source.path.c_str(), &info) != 0) return fail(Errc::temporary, "open " + source.path + ": no such file");
  if (info.st_mtim.tv_sec == source.read.tv_sec && info.st_mtim.tv_nsec == source.read.tv_nsec) return {};
  const auto text = map::read_file(source.path, kMaxFile);
  if (!text) return fail(Errc::temporary, text.error().context);
  source.names = parse_alias_file(*text);
  source.read = info.st_mtim;
  return {};
}

Result<AliasMaps> AliasMaps::open(const config::Config& config, const config::Params& params, map::TableSet& tables) {
  AliasMaps out;
  const bool may_be_missing = !config.is_set("alias_maps");
  for (std::string word : map::split_list(params.alias_maps)) {
    // As local(8): the table itself, never another process's view of it.
    if (istarts_with(word, "proxy:")) word.erase(0, 6);
    const std::string_view type = map::table_type(word);
    if (may_be_missing && map::type_status(type) == map::TypeStatus::elsewhere) continue;
    Source source;
    if (type == "hash" || type == "btree" || type == "lmdb" || type == "texthash") {
      source.path = word.substr(type.size() + 1);
      if (!source.path.starts_with('/')) source.path = config.directory() + "/" + source.path;
      struct stat info{};
      const bool built = type != "texthash" && ::stat((source.path + ".lmdb").c_str(), &info) == 0;
      if (!built) {
        if (auto read = read_text(source); !read) {
          if (may_be_missing) continue;
          return fail(Errc::config, "alias_maps: " + read.error().context);
        }
        out.sources_.push_back(std::move(source));
        continue;
      }
      source.path += ".lmdb";
    } else if (type == "pcre" || type == "regexp" || type == "cidr") {
      source.path = word.substr(type.size() + 1);
      if (!source.path.starts_with('/')) source.path.clear();
    }
    auto table = tables.open(word);
    if (!table) {
      if (may_be_missing) continue;
      return fail("alias_maps", table.error());
    }
    source.table = std::move(*table);
    out.sources_.push_back(std::move(source));
  }
  return out;
}

Result<std::optional<AliasMaps::Found>> AliasMaps::find(const std::string& name) {
  for (Source& source : sources_) {
    std::optional<std::string> value;
    if (source.table) {
      auto found = source.table->find(name);
      if (!found) return tl::unexpected(found.error());
      value = std::move(*found);
    } else {
      if (auto read = read_text(source); !read) return tl::unexpected(read.error());
      const auto at = source.names.find(name);
      if (at != source.names.end()) value = at->second;
    }
    if (!value) continue;
    Found out{std::move(*value), 0};
    struct stat info{};
    if (!source.path.empty() && ::stat(source.path.c_str(), &info) == 0) out.owner = info.st_uid;
    return out;
  }
  return std::optional<Found>();
}

}  // namespace millrace::local
