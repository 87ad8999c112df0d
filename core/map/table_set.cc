// Opening tables by type.  One row of kTypes per type; what Postfix has and we do not is named in kElsewhere.
#include <grp.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <unordered_map>

#include "core/base/assert.h"
#include "core/base/strings.h"
#include "core/map/alias_source.h"
#include "core/map/build.h"
#include "core/map/cidr.h"
#include "core/map/combined.h"
#include "core/map/foreign.h"
#include "core/map/lmdb_file.h"
#include "core/map/named.h"
#include "core/map/pattern.h"
#include "core/map/remote.h"
#include "core/map/system.h"
#include "core/map/table.h"
#include "core/map/text.h"

namespace millrace::map {

namespace {

constexpr std::size_t kRuleFileLimit = 64 * 1024 * 1024;

using Entries = std::unordered_map<std::string, std::string>;
Lookup find_in(const Entries& entries, std::string_view key, bool fold) {
  const auto at = entries.find(fold ? lower(key) : std::string(key));
  if (at == entries.end()) return std::optional<std::string>();
  return std::optional<std::string>(at->second);
}

class TextTable : public Named {
 public:
  TextTable(std::string name, Entries entries, bool fold)
      : Named(std::move(name)), entries_(std::move(entries)), fold_(fold) {}
  Lookup find(std::string_view key) override { return find_in(entries_, key, fold_); }
  bool is_pattern() const override { return false; }
  std::optional<std::map<std::string, std::string>> entries() const override {
    return std::map<std::string, std::string>(entries_.begin(), entries_.end());
  }

 private:
  Entries entries_;
  bool fold_;
};

// FILE.lmdb, or the text read once as long as there is no such file.
class IndexedTable : public Named {
 public:
  IndexedTable(std::string name, std::string path, std::unique_ptr<LmdbFile> file, Entries entries, bool fold)
      : Named(std::move(name)), path_(std::move(path)), file_(std::move(file)), entries_(std::move(entries)), fold_(fold) {}

  Lookup find(std::string_view key) override {
    if (!file_) return find_in(entries_, key, fold_);
    auto result = file_->get(fold_ ? lower(key) : std::string(key));
    if (!result) return fail(name(), result.error());
    return result;
  }
  bool is_pattern() const override { return false; }

  void refresh(const Warn& warn) override {
    const FileIdentity now = FileIdentity::of(path_);
    // A file that went away stays mapped: better the last known table than none.
    if (!now.exists() || (file_ && now == file_->identity()) || now == refused_) return;
    auto fresh = LmdbFile::open(path_);
    if (!fresh) {
      refused_ = now;
      warn(name() + ": " + fresh.error().context + ": keeping the old table");
      return;
    }
    file_ = std::move(*fresh);
    entries_.clear();
  }

 private:
  std::string path_;   // of FILE.lmdb
  std::unique_ptr<LmdbFile> file_;
  Entries entries_;
  bool fold_;
  FileIdentity refused_;   // what could not be opened, so that it is said once
};

class CidrTable : public Named {
 public:
  CidrTable(std::string name, CidrRules rules) : Named(std::move(name)), rules_(std::move(rules)) {}
  Lookup find(std::string_view key) override {
    const std::string* value = rules_.find(key);
    return value ? std::optional<std::string>(*value) : std::nullopt;
  }
  bool is_pattern() const override { return true; }

 private:
  CidrRules rules_;
};

class PatternTable : public Named {
 public:
  PatternTable(std::string name, PatternRules rules) : Named(std::move(name)), rules_(std::move(rules)) {}
  Lookup find(std::string_view key) override {
    auto result = rules_.find(key);
    if (!result) return fail(name(), result.error());
    return result;
  }
  bool is_pattern() const override { return true; }

 private:
  PatternRules rules_;
};

class StaticTable : public Named {
 public:
  StaticTable(std::string name, std::string value) : Named(std::move(name)), value_(std::move(value)) {}
  Lookup find(std::string_view) override { return std::optional<std::string>(value_); }
  bool is_pattern() const override { return true; }

 private:
  std::string value_;
};

class FailTable : public Named {
 public:
  using Named::Named;
  Lookup find(std::string_view key) override {
    return fail(Errc::temporary, name() + " lookup error for \"" + printable(key.substr(0, 100)) + "\"");
  }
  bool is_pattern() const override { return true; }
};

class CombinedTable : public Named {
 public:
  using Finder = Lookup (*)(Parts, std::string_view);
  CombinedTable(std::string name, std::vector<std::shared_ptr<Table>> parts, Finder finder)
      : Named(std::move(name)), parts_(std::move(parts)), finder_(finder) {}
  Lookup find(std::string_view key) override { return finder_(parts_, key); }
  // A pattern only when all of it is: one indexed part is reason enough to ask for parts of the key.
  bool is_pattern() const override {
    return std::all_of(parts_.begin(), parts_.end(), [](const auto& part) { return part->is_pattern(); });
  }
  bool may_suspend() const override {
    return std::any_of(parts_.begin(), parts_.end(), [](const auto& part) { return part->may_suspend(); });
  }

 private:
  std::vector<std::shared_ptr<Table>> parts_;   // refreshed by the set, which knows them too
  Finder finder_;
};

// proxy: the table itself, under another name, in a set of its own.
class ProxiedTable : public Named {
 public:
  ProxiedTable(std::string name, std::shared_ptr<TableSet> set, std::shared_ptr<Table> table)
      : Named(std::move(name)), set_(std::move(set)), table_(std::move(table)) {}
  Lookup find(std::string_view key) override { return table_->find(key); }
  bool is_pattern() const override { return table_->is_pattern(); }
  bool may_suspend() const override { return table_->may_suspend(); }
  void refresh(const Warn&) override { set_->refresh(); }

 private:
  std::shared_ptr<TableSet> set_;
  std::shared_ptr<Table> table_;
};

using Opened = Result<std::shared_ptr<Named>>;
struct Request {
  std::string name;   // "hash:/etc/postfix/access"
  std::string type;
  std::string_view argument;   // what follows the colon
  std::string path;   // the same as a file name
  const Warn& warn;
  TableSet& set;   // for tables made of tables
  const TableOptions& options;
  const std::string& chroot;
  bool aliases;    // texts are aliases(5)
};

Result<Entries> read_entries(const Request& request) {
  auto text = read_file(request.path, kRuleFileLimit);
  if (!text) return tl::unexpected(text.error());
  BuildOptions options;
  options.warn = request.warn;
  options.fold = request.options.fold;
  auto parsed = (request.aliases ? parse_aliases : parse_source)(*text, request.path, options);
  return Entries(std::make_move_iterator(parsed.begin()), std::make_move_iterator(parsed.end()));
}

Opened open_indexed(const Request& request) {
  const std::string path = request.path + ".lmdb";
  auto file = LmdbFile::open(path);
  if (!file && file.error().code != Errc::not_found) return tl::unexpected(file.error());
  if (!file) {
    auto entries = read_entries(request);
    if (!entries && entries.error().code == Errc::not_found)
      return fail(Errc::config, "open database " + path + ": no such file, and no " + request.path + " either");
    if (!entries) return tl::unexpected(entries.error());
    return std::make_shared<IndexedTable>(request.name, path, nullptr, std::move(*entries), request.options.fold);
  }
  const FileIdentity source = FileIdentity::of(request.path);
  if (source.exists() && source.changed_ns > (*file)->identity().changed_ns)
    request.warn("database " + path + " is older than source file " + request.path);
  return std::make_shared<IndexedTable>(request.name, path, std::move(*file), Entries(), request.options.fold);
}

Opened open_texthash(const Request& request) {
  auto entries = read_entries(request);
  if (!entries) return tl::unexpected(entries.error());
  return std::make_shared<TextTable>(request.name, std::move(*entries), request.options.fold);
}

Opened open_inline(const Request& request) {
  const auto need = [&](const std::string& what) {
    return fail(Errc::config, what + "; need \"inline:{name=value...}\"");
  };
  const auto inner = strip_braces(request.argument);
  if (!inner) return need(inner.error().context);
  Entries entries;
  for (const std::string& item : split_list(*inner)) {
    std::string_view text = item;
    if (text[0] == '{') {
      const auto stripped = strip_braces(text);
      if (!stripped) return need(stripped.error().context);
      text = *stripped;
    }
    const std::size_t equals = text.find('=');
    const std::string_view key = trim(text.substr(0, equals));
    // White space inside the name means that the '=' belongs to something else.
    if (equals == text.npos || key.find_first_of(" \t\r\n") != key.npos)
      return need("missing '=' after attribute name: \"" + printable(text) + "\"");
    entries[request.options.fold ? lower(key) : std::string(key)] = trim(text.substr(equals + 1));
  }
  if (entries.empty()) return need("empty table");
  return std::make_shared<TextTable>(request.name, std::move(entries), request.options.fold);
}

// A file of rules, or "{{rule}, …}", line by line into `rules`.
template <typename Rules>
Result<void> read_rules(const Request& request, Rules& rules) {
  const std::string place = request.type + " map " + (request.argument[0] == '{' ? std::string(request.argument) : request.path);
  const Warn warn = [&](const std::string& text) { request.warn(place + ", " + text); };
  if (request.argument[0] == '{') {
    const auto lines = inline_rules(request.argument);
    if (!lines) return fail(request.type + " map", lines.error());
    int number = 0;
    for (const std::string& line : *lines) {
      ++number;
      if (!line.empty() && line[0] != '#') rules.add(line, number, warn);
    }
  } else {
    const auto text = read_file(request.path, kRuleFileLimit);
    if (!text) return tl::unexpected(text.error());
    LineReader reader(*text);
    while (reader.next()) rules.add(reader.line(), reader.number(), warn);
  }
  rules.finish(warn);
  return {};
}

Opened open_cidr(const Request& request) {
  CidrRules rules;
  if (auto read = read_rules(request, rules); !read) return tl::unexpected(read.error());
  return std::make_shared<CidrTable>(request.name, std::move(rules));
}

Opened open_pattern(const Request& request) {
  PatternRules rules(request.type == "pcre" ? PatternDialect::pcre : PatternDialect::regexp);
  if (auto read = read_rules(request, rules); !read) return tl::unexpected(read.error());
  return std::make_shared<PatternTable>(request.name, std::move(rules));
}

Opened open_static(const Request& request) {
  std::string_view text = request.argument;
  if (text[0] == '{') {
    const auto stripped = strip_braces(text);
    if (!stripped) return fail("bad static:name syntax", stripped.error());
    text = *stripped;
  }
  return std::make_shared<StaticTable>(request.name, std::string(text));
}

Opened open_fail(const Request& request) { return std::make_shared<FailTable>(request.name); }

Opened open_combined(const Request& request, CombinedTable::Finder finder) {
  const auto names = combined_parts(request.type, request.argument);
  if (!names) return tl::unexpected(names.error());
  std::vector<std::shared_ptr<Table>> parts;
  for (const std::string& name : *names) {
    auto part = request.set.open(name);
    if (!part) return tl::unexpected(part.error());
    parts.push_back(std::move(*part));
  }
  return std::make_shared<CombinedTable>(request.name, std::move(parts), finder);
}

Opened open_union(const Request& request) { return open_combined(request, find_union); }
Opened open_pipe(const Request& request) { return open_combined(request, find_piped); }

Opened open_random(const Request& request) {
  const auto inner = strip_braces(request.argument);
  std::vector<std::string> values = inner ? split_list(*inner) : std::vector<std::string>();
  if (values.empty()) {
    const std::string given = "randmap:" + printable(request.argument);
    return fail(Errc::config, "bad syntax: \"" + given + "\"; need \"randmap:{value...}\"");
  }
  return std::make_shared<RandomTable>(request.name, std::move(values));
}

Opened open_unix(const Request& request) {
  if (request.argument == "passwd.byname") return std::make_shared<UnixTable>(request.name, UnixTable::Which::passwd);
  if (request.argument == "group.byname") return std::make_shared<UnixTable>(request.name, UnixTable::Which::group);
  return fail(Errc::config, "unknown table: " + printable(request.name));
}

Opened open_environ(const Request& request) { return std::make_shared<EnvironTable>(request.name); }
Opened open_internal(const Request& request) { return std::make_shared<EmptyTable>(request.name); }

Opened open_socketmap(const Request& request) {
  auto parsed = parse_socketmap_name(request.argument);
  if (!parsed) return tl::unexpected(parsed.error());
  std::string& path = parsed->server.unix_path;
  // As a server's working directory and root have it (design: chrooted services).
  if (!path.empty() && path[0] != '/' && !request.options.queue_directory.empty()) {
    path.insert(0, request.options.queue_directory + "/");
  } else if (!path.empty()) {
    path.insert(0, request.chroot);
  }
  RemoteTable::Protocol protocol{[name = parsed->map_name](std::string_view key) { return socketmap_request(name, key); },
                                 parse_socketmap_reply, 1};
  return std::make_shared<RemoteTable>(request.name, parsed->server, std::move(protocol), request.options.warn);
}

Opened open_tcp(const Request& request) {
  auto server = parse_tcp_name(request.argument);
  if (!server) return tl::unexpected(server.error());
  return std::make_shared<RemoteTable>(request.name, *server, RemoteTable::Protocol{tcp_request, parse_tcp_reply, 10},
                                       request.options.warn);
}

// The rights of another user for as long as it lives, when we are root; at start-up only.
class AsUser {
 public:
  explicit AsUser(const std::optional<TableOptions::Proxy>& user) : active_(user && ::geteuid() == 0 && user->uid != 0) {
    if (!active_) return;
    groups_.resize(static_cast<std::size_t>(std::max(::getgroups(0, nullptr), 0)));
    groups_.resize(static_cast<std::size_t>(std::max(::getgroups(static_cast<int>(groups_.size()), groups_.data()), 0)));
    gid_ = ::getegid();
    const gid_t only = user->gid;
    good_ = ::setgroups(1, &only) == 0 && ::setegid(only) == 0 && ::seteuid(user->uid) == 0;
  }
  ~AsUser() {
    if (!active_) return;
    const bool back = ::seteuid(0) == 0 && ::setegid(gid_) == 0 && ::setgroups(groups_.size(), groups_.data()) == 0;
    MR_ASSERT(back);
  }
  AsUser(const AsUser&) = delete;
  AsUser& operator=(const AsUser&) = delete;
  bool good() const { return good_; }

 private:
  bool active_, good_ = true;
  gid_t gid_ = 0;
  std::vector<gid_t> groups_;
};

std::string_view without_proxy(std::string_view name) {
  while (name.starts_with("proxy:")) name.remove_prefix(6);
  return name;
}

bool is_approved(std::string_view list, std::string_view name) {
  for (const std::string& word : split_list(list)) {
    if (word.starts_with("proxy:") && without_proxy(word) == name) return true;
  }
  return false;
}

Opened open_proxy(const Request& request) {
  const std::string_view name = without_proxy(request.argument);
  if (request.options.proxy_read_maps && !is_approved(*request.options.proxy_read_maps, name)) {
    return fail(Errc::config, "proxymap service is not configured for table \"" + printable(name) +
                                  "\": to approve it for read-only access, list proxy:" + printable(name) +
                                  " in proxy_read_maps");
  }
  const AsUser owner(request.options.proxy_owner);
  if (!owner.good()) return fail(Errc::config, "cannot take the rights of the mail owner");
  // Opened anew: what is open already may hold what these rights may not read.
  auto set = std::make_shared<TableSet>(request.options);
  set->set_chroot(request.chroot);
  auto table = request.aliases ? set->open_aliases(name) : set->open(name);
  if (!table) return tl::unexpected(table.error());
  return std::make_shared<ProxiedTable>(request.name, std::move(set), std::move(*table));
}

struct Type {
  std::string_view name;
  Opened (*open)(const Request&);
};
constexpr Type kTypes[] = {
    {"btree", open_indexed},   {"cidr", open_cidr},         {"environ", open_environ}, {"fail", open_fail},
    {"hash", open_indexed},    {"inline", open_inline},     {"internal", open_internal}, {"lmdb", open_indexed},
    {"pcre", open_pattern},    {"pipemap", open_pipe},      {"proxy", open_proxy},     {"randmap", open_random},
    {"regexp", open_pattern},  {"socketmap", open_socketmap}, {"static", open_static}, {"tcp", open_tcp},
    {"texthash", open_texthash}, {"unionmap", open_union},  {"unix", open_unix},
};
constexpr std::string_view kElsewhere[] = {
    "cdb",     "dbm",  "ldap",    "memcache", "mongodb", "mysql",
    "netinfo", "nis",  "nisplus", "pgsql",    "sdbm",    "sqlite",
};

ForeignTypes& foreign_types() {
  static ForeignTypes types;
  return types;
}

}  // namespace

void use_foreign_types(ForeignTypes types) { foreign_types() = std::move(types); }

TypeStatus type_status(std::string_view type) {
  for (const Type& known : kTypes) {
    if (known.name == type) return TypeStatus::supported;
  }
  for (const std::string_view known : kElsewhere) {
    if (known == type) return TypeStatus::elsewhere;
  }
  return TypeStatus::unknown;
}

std::string_view table_type(std::string_view type_and_name) {
  const std::size_t colon = type_and_name.find(':');
  return colon == type_and_name.npos ? std::string_view() : type_and_name.substr(0, colon);
}

bool looks_like_table(std::string_view word) {
  const std::string_view type = table_type(word);
  if (type.empty()) return false;
  for (const char c : type) {
    if (!is_alnum(c) && c != '_' && c != '-') return false;
  }
  return true;
}

struct TableSet::Impl {
  TableOptions options;
  Warn warn;
  std::string chroot;
  std::map<std::string, std::shared_ptr<Named>, std::less<>> tables;

  Opened open(TableSet& set, std::string_view type_and_name, bool aliases);
};

TableSet::TableSet(TableOptions options) : impl_(std::make_unique<Impl>()) {
  impl_->options = std::move(options);
  impl_->warn = [impl = impl_.get()](const std::string& text) {
    if (impl->options.warn) impl->options.warn(text);
  };
}
TableSet::~TableSet() = default;

void TableSet::set_chroot(std::string_view directory) { impl_->chroot = directory; }

Result<std::shared_ptr<Table>> TableSet::open(std::string_view type_and_name) {
  auto opened = impl_->open(*this, type_and_name, false);
  if (!opened) return tl::unexpected(opened.error());
  return *opened;
}

Result<std::shared_ptr<Table>> TableSet::open_aliases(std::string_view type_and_name) {
  auto opened = impl_->open(*this, type_and_name, true);
  if (!opened) return tl::unexpected(opened.error());
  return *opened;
}

Opened TableSet::Impl::open(TableSet& set, std::string_view type_and_name, bool aliases) {
  type_and_name = trim(type_and_name);
  // Tables that differ by more than their name: where sockets are, and how a text is read.
  std::string key = type_and_name.find("socketmap:") == type_and_name.npos ? std::string() : chroot;
  key.append(aliases ? " aliases " : " ").append(type_and_name);
  if (const auto at = tables.find(key); at != tables.end()) return at->second;
  const std::string_view type = table_type(type_and_name);
  const std::string quoted = "\"" + printable(type_and_name) + "\"";
  if (type.empty()) return fail(Errc::config, "expecting \"type:name\" form instead of " + quoted);
  const std::string_view argument = type_and_name.substr(type.size() + 1);
  if (type_status(type) == TypeStatus::elsewhere) {
    return fail(Errc::config, quoted + ": tables of type " + std::string(type) +
                                  " are not supported: they will be plugins; socketmap: can stand for them");
  }
  for (const Type& known : kTypes) {
    if (known.name != type) continue;
    if (argument.empty())
      return fail(Errc::config, "expecting \"type:name\" form instead of " + quoted);
    std::string path(argument);
    if (path.empty() || path[0] != '/') {
      if (!options.config_directory.empty()) path = options.config_directory + "/" + path;
    }
    const Request request{std::string(type_and_name), std::string(type), argument, path, warn, set, options, chroot, aliases};
    auto table = known.open(request);
    // Whatever keeps a table from being opened is for the configuration's reader.
    if (!table) return fail(Errc::config, std::move(table.error().context));
    tables.emplace(std::move(key), *table);
    return *table;
  }
  if (foreign_types() && type_status(type) == TypeStatus::unknown) {
    auto table = foreign_types()(type, argument);
    if (!table) return fail(Errc::config, std::move(table.error().context));
    if (*table) return tables.emplace(std::move(key), *table).first->second;
  }
  return fail(Errc::config, "unsupported dictionary type: " + printable(type));
}

void TableSet::refresh() {
  for (const auto& [name, table] : impl_->tables) table->refresh(impl_->warn);
}

}  // namespace millrace::map
