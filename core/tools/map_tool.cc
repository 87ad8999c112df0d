#include "core/tools/map_tool.h"

#include <fmt/format.h>
#include <grp.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <functional>
#include <iostream>
#include <iterator>
#include <memory>
#include <optional>
#include <vector>

#include "core/base/clock.h"
#include "core/base/strings.h"
#include "core/config/config.h"
#include "core/map/build.h"
#include "core/map/table.h"
#include "core/map/text.h"
#include "core/tools/alias_source.h"
#include "core/tools/alias_tool.h"
#include "core/tools/map_keys.h"

namespace millrace::tools {
namespace {

constexpr int kGood = 0, kFailed = 1;
constexpr std::size_t kSourceLimit = std::size_t{1} << 30;

// What is different between postmap and postalias.
struct Kind {
  const char* name;
  const char* usage;
  const char* separator;   // between key and value in lists
  const char* options;
  map::Entries (*parse)(std::string_view text, const std::string& name, const map::BuildOptions& options);
};
constexpr Kind kMap = {"postmap", "usage: postmap [-bfFhimnNoprsuUvw] [-c config_dir] [-d key] [-q key] [map_type:]file...",
                       "\t", "+bc:d:fFhimNnopq:rsuUvw", map::parse_source};
constexpr Kind kAlias = {"postalias", "usage: postalias [-Nfinoprsuvw] [-c config_dir] [-d key] [-q key] [map_type:]file...",
                         ":\t", "+c:d:fiNnopq:rsuvw", parse_aliases};

// Root gives up its rights for the owner's of the source while a table is made, so that nobody who may write the
// source can have another's file changed (postmap(1), -o).
class SourceOwner {
 public:
  SourceOwner(const std::string& path, const std::string& source, bool wanted, const std::function<void(const std::string&)>& warn) {
    struct stat info{}, parent{};
    // With entries from standard input it is who gave them to us.
    const int known = source == path ? ::stat(path.c_str(), &info) : ::fstat(STDIN_FILENO, &info);
    if (!wanted || known != 0 || ::getuid() != 0) return;
    if (info.st_uid == 0) {
      const std::size_t slash = path.rfind('/');
      const std::string directory = slash == path.npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
      if (::stat(directory.c_str(), &parent) == 0 && parent.st_uid != 0) {
        warn(fmt::format("Creating root-owned database file(s) {0}.* in non-root-owned directory {1}. Files {2}, {0}.*, and directory {1} "
                         "should have the same owner. Please fix ownership to avoid a privilege-escalation attack.",
                         path, directory, source));
      }
      return;
    }
    active_ = true;
    if (::setegid(info.st_gid) != 0 || ::setgroups(1, &info.st_gid) != 0 || ::seteuid(info.st_uid) != 0) {
      problem_ = fmt::format("cannot take the rights of the owner of {}: {}", source, std::strerror(errno));
    }
  }
  ~SourceOwner() {
    if (!active_) return;
    // What follows is the next table, or the end.
    const gid_t own = ::getgid();
    if (::seteuid(0) != 0 || ::setegid(own) != 0 || ::setgroups(1, &own) != 0) ::_exit(kFailed);
  }
  SourceOwner(const SourceOwner&) = delete;
  SourceOwner& operator=(const SourceOwner&) = delete;
  const std::string& problem() const { return problem_; }

 private:
  bool active_ = false;
  std::string problem_;
};

class MapTool {
 public:
  MapTool(const Kind& kind, std::string program, std::string directory)
      : kind_(kind), program_(std::move(program)), directory_(std::move(directory)) {
    options_.warn = [this](const std::string& text) { warn(text); };
  }

  int run(int argc, char** argv) {
    if (!read_options(argc, argv)) return fatal(kind_.usage);
    if (const char* wrong = misfit()) return fatal(wrong);
    if ((query_ ? 1 : 0) + (remove_ ? 1 : 0) + (list_ ? 1 : 0) > 1) return fatal("specify only one of -s or -q or -d");
    if (names_.empty()) return fatal(kind_.usage);
    const auto config = config::Config::load(directory_, ignored_);
    const std::string type = config->params().default_database_type;
    if (!config->params().smtputf8_enable || ((keys_.headers || keys_.body) && !force_utf8_)) options_.utf8 = false;
    for (std::string& name : names_) {
      if (!map::looks_like_table(name)) name = type + ":" + name;
    }
    if (query_) return query(*query_);
    if (list_) return list();
    if (remove_) return remove(*remove_);
    for (const std::string& name : names_) {
      if (const int failed = build(name)) return failed;
    }
    return kGood;
  }

  int build(const std::string& name) {
    std::string path;
    if (const int failed = stored_path(name, "does not support bulk-mode creation.", path)) return failed;
    map::Entries entries;
    std::string like = increment_ ? "" : path;
    const SourceOwner owner(path, increment_ ? "stdin" : path, as_owner_, [this](const std::string& text) { warn(text); });
    if (!owner.problem().empty()) return fatal(owner.problem());
    if (increment_) {
      auto old = map::read_lmdb(path);
      if (!old && old.error().code != Errc::not_found) return fatal(old.error().context);
      if (old) {
        entries = std::move(*old);
        like = path + ".lmdb";
      }
      const std::string text{std::istreambuf_iterator<char>(std::cin), {}};
      for (auto& [key, value] : kind_.parse(text, "stdin", options_)) map::add_entry(entries, key, value, named(name));
    } else {
      const auto text = map::read_file(path, kSourceLimit);
      if (!text) return fatal(text.error().code == Errc::not_found ? fmt::format("open {}: No such file or directory", path) : text.error().context);
      entries = kind_.parse(*text, path, options_);
      if (kind_.parse == parse_aliases) {
        // What NIS expects of an alias table, as Sendmail and Postfix have it.
        entries.try_emplace("@", "@");
        entries.try_emplace("YP_LAST_MODIFIED", fmt::format("{:010}", wall_now() / 1000000));
        entries.try_emplace("YP_MASTER_NAME", config::Config::load(directory_, ignored_)->params().myhostname);
      }
    }
    if (const auto written = map::write_lmdb(path, entries, like, options_); !written) return fatal(written.error().context);
    return kGood;
  }

  int fatal(const std::string& text) const {
    std::cout.flush();
    fmt::print(stderr, "{}: fatal: {}\n", program_, text);
    return kFailed;
  }

 private:
  bool read_options(int argc, char** argv) {
    using Duplicates = map::BuildOptions::Duplicates;
    std::vector<char*> arguments(argv, argv + argc);
    arguments[0] = program_.data();
    arguments.push_back(nullptr);
    optind = 0;   // glibc: starts over
    for (int option; (option = ::getopt(argc, arguments.data(), kind_.options)) != -1;) {
      switch (option) {
        case 'c': directory_ = optarg; break;
        case 'd': remove_ = optarg; break;
        case 'q': query_ = optarg; break;
        case 's': list_ = true; break;
        case 'f': options_.fold = false; break;
        case 'i': increment_ = true; break;
        case 'N': options_.terminate = true; break;
        case 'n': options_.terminate = false; break;
        case 'p': options_.inherit_mode = false; break;
        case 'r': options_.duplicates = Duplicates::replace; break;
        case 'w': options_.duplicates = Duplicates::ignore; break;
        case 'b': keys_.body = true; break;
        case 'h': keys_.headers = true; break;
        case 'm': keys_.mime = true; break;
        case 'F': files_ = true; break;
        case 'o':
          as_owner_ = false;
          options_.inherit_owner = false;
          break;
        case 'u': options_.utf8 = false; break;
        case 'U': force_utf8_ = true; break;
        case 'v': break;
        default: return false;
      }
    }
    names_.assign(arguments.begin() + optind, arguments.begin() + argc);
    if (files_) {
      options_.convert = [](std::string_view names) -> Result<std::string> {
        auto content = files_content(names);
        if (!content) return tl::unexpected(content.error());
        return base64_encode(*content);
      };
    }
    return true;
  }

  // nullptr, or why these options do not go together.
  const char* misfit() const {
    if (!keys_.headers && !keys_.body && !keys_.mime) return nullptr;
    if (query_ != "-") return "specify -b -h or -m only with \"-q -\"";
    if (!keys_.headers && !keys_.body) warn("ignoring -m option without -b or -h");
    return nullptr;
  }

  // "hash:/etc/x" -> "/etc/x", for the types that are kept in FILE.lmdb.
  int stored_path(const std::string& name, const char* what, std::string& path) const {
    const std::string type(map::table_type(name));
    if (type != "hash" && type != "btree" && type != "lmdb") {
      if (map::type_status(type) == map::TypeStatus::unknown) return fatal("unsupported dictionary type: " + type);
      return fatal(fmt::format("unsupported dictionary type: {} {}", type, what));
    }
    path = name.substr(type.size() + 1);
    return path.empty() ? fatal("open database .lmdb: No such file or directory") : kGood;
  }

  map::BuildOptions named(const std::string& name) const {
    map::BuildOptions out = options_;
    out.warn = [this, name](const std::string& text) { warn(name + ": " + text); };
    return out;
  }

  void warn(const std::string& text) const { fmt::print(stderr, "{}: warning: {}\n", program_, text); }
  void print(const std::string& key, const std::string& value) const { std::cout << key << kind_.separator << value << "\n"; }

  static std::vector<std::string> keys_from_input() {
    std::vector<std::string> out;
    for (std::string line; std::getline(std::cin, line);) {
      if (!line.empty() && line.back() == '\r') line.pop_back();
      out.push_back(std::move(line));
    }
    return out;
  }

  map::TableOptions table_options() {
    map::TableOptions out;
    out.warn = options_.warn;
    out.fold = options_.fold;
    out.proxy_read_maps = config::Config::load(directory_, ignored_)->params().proxy_read_maps;
    return out;
  }

  int query(const std::string& key) {
    map::TableSet tables(table_options());
    std::vector<std::shared_ptr<map::Table>> opened;
    for (const std::string& name : names_) {
      auto table = tables.open(name);
      if (!table) return fatal(table.error().context);
      opened.push_back(std::move(*table));
    }
    const bool many = key == "-";
    if (many && (keys_.headers || keys_.body)) {
      const std::string message{std::istreambuf_iterator<char>(std::cin), {}};
      const auto read = message_keys(message, keys_, [&](std::string_view one) { return ask(opened, std::string(one), true); });
      if (!read) return fatal(read.error().context);
    } else {
      for (const std::string& one : many ? keys_from_input() : std::vector<std::string>{key}) {
        if (!ask(opened, one, many)) break;
      }
    }
    if (!trouble_.empty()) return fatal(trouble_);
    return found_ ? kGood : kFailed;
  }

  // One key in all tables; false when one of them failed.
  bool ask(const std::vector<std::shared_ptr<map::Table>>& opened, const std::string& key, bool many) {
    for (const auto& table : opened) {
      if (options_.utf8 && !is_valid_utf8(key)) {
        warn(fmt::format("{}: non-UTF-8 key \"{}\": malformed UTF-8 or invalid codepoint", table->name(), printable(key)));
        continue;
      }
      if (key.empty() && !table->is_pattern()) continue;
      auto value = table->find(key);
      if (value && *value && files_) value = file_value(*table, key, **value);
      if (!value) {
        trouble_ = "table " + value.error().context;
        return false;
      }
      if (!*value) continue;
      if ((*value)->empty()) {
        warn("table " + table->name() + ": key " + key + ": empty string result is not allowed");
        warn("table " + table->name() + " should return NO RESULT in case of NOT FOUND");
      }
      many ? print(key, **value) : void(std::cout << **value << "\n");
      found_ = true;
      break;
    }
    return true;
  }

  // -F: what a table says is the content of files, which built tables hold and others name.
  map::Lookup file_value(const map::Table& table, const std::string& key, const std::string& value) const {
    if (is_built(map::table_type(table.name()))) {
      if (auto content = base64_decode(value)) return content;
      warn(fmt::format("table {}: key {}: malformed BASE64 value: {:.30}", table.name(), key, value));
      return fail(Errc::config, table.name() + ": query error");
    }
    auto content = files_content(value);
    if (!content) return fail(Errc::config, table.name() + ": " + content.error().context);
    return std::optional<std::string>(std::move(*content));
  }

  static bool is_built(std::string_view type) { return type == "hash" || type == "btree" || type == "lmdb"; }

  // Of the first table, as postmap(1).
  int list() {
    for (const std::string& name : {names_.front()}) {
      const std::string type(map::table_type(name));
      map::Entries entries;
      if (!is_built(type)) {
        map::TableSet tables(table_options());
        const auto table = tables.open(name);
        if (!table) return fatal(table.error().context);
        const auto all = (*table)->entries();
        if (!all) return fatal(fmt::format("table {}: sequence operation is not supported", name));
        for (const auto& [key, value] : *all) {
          const auto content = files_ ? files_content(value) : Result<std::string>(value);
          if (!content) warn(fmt::format("table {}: key {}: {}", name, key, content.error().context));
          else print(key, *content);
        }
        continue;
      } else {
        auto stored = map::read_lmdb(name.substr(type.size() + 1));
        if (!stored) return fatal(stored.error().context);
        entries = std::move(*stored);
      }
      for (const auto& [key, value] : entries) {
        const auto content = files_ ? base64_decode(value) : std::optional<std::string>(value);
        if (!content) warn(fmt::format("table {}: key {}: malformed BASE64 value: {:.30}", name, key, value));
        else print(key, *content);
      }
    }
    std::cout.flush();
    return kGood;
  }

  int remove(const std::string& key) {
    bool found = false;
    const std::vector<std::string> keys = key == "-" ? keys_from_input() : std::vector<std::string>{key};
    for (const std::string& name : names_) {
      std::string path;
      const std::string type(map::table_type(name));
      if (map::type_status(type) == map::TypeStatus::supported && type != "hash" && type != "btree" && type != "lmdb") {
        return fatal(fmt::format("{} map requires O_RDONLY access mode", name));
      }
      if (const int failed = stored_path(name, "cannot be changed", path)) return failed;
      auto entries = map::read_lmdb(path);
      if (!entries) return fatal(entries.error().context);
      bool changed = false;
      for (const std::string& one : keys) changed = entries->erase(options_.fold ? lower(one) : one) > 0 || changed;
      found = found || changed;
      if (!changed) continue;
      if (const auto written = map::write_lmdb(path, *entries, path + ".lmdb", options_); !written) {
        return fatal(written.error().context);
      }
    }
    return found ? kGood : kFailed;
  }

  const Kind& kind_;
  std::string program_, directory_;
  std::vector<std::string> names_;
  std::optional<std::string> query_, remove_;
  bool list_ = false, increment_ = false, files_ = false, force_utf8_ = false, as_owner_ = true, found_ = false;
  MessageKeys keys_;
  std::string trouble_;   // why looking up ended
  map::BuildOptions options_;
  config::Findings ignored_;   // `check` reports them
};

std::string program_name(int argc, char** argv, const Kind& kind) {
  const std::string self = argc > 0 ? argv[0] : "";
  return self.empty() || self == "millrace" ? kind.name : self;
}

}  // namespace

int map_main(int argc, char** argv, const std::string& config_directory) {
  return MapTool(kMap, program_name(argc, argv, kMap), config_directory).run(argc, argv);
}

int alias_main(int argc, char** argv, const std::string& config_directory) {
  return MapTool(kAlias, program_name(argc, argv, kAlias), config_directory).run(argc, argv);
}

int new_aliases(const std::string& database, const std::string& config_directory) {
  config::Findings ignored;
  const auto config = config::Config::load(config_directory, ignored);
  std::vector<std::string> names = {database};
  if (database.empty()) names = map::split_list(config->value("alias_database").value_or(""));
  for (std::string name : names) {
    if (!map::looks_like_table(name)) name = config->params().default_database_type + ":" + name;
    if (const int failed = MapTool(kAlias, "postalias", config_directory).build(name)) return failed;
  }
  return kGood;
}

}  // namespace millrace::tools
