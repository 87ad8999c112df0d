#include "core/tools/map_tool.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>
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

namespace millrace::tools {
namespace {

constexpr int kGood = 0, kFailed = 1;
constexpr std::size_t kSourceLimit = std::size_t{1} << 30;

// What is different between postmap and postalias.
struct Kind {
  const char* name;
  const char* usage;
  const char* separator;   // between key and value in lists
  map::Entries (*parse)(std::string_view text, const std::string& name, const map::BuildOptions& options);
};
constexpr Kind kMap = {"postmap", "usage: postmap [-NfFinoprsuUvw] [-c config_dir] [-d key] [-q key] [map_type:]file...",
                       "\t", map::parse_source};
constexpr Kind kAlias = {"postalias", "usage: postalias [-Nfinoprsuvw] [-c config_dir] [-d key] [-q key] [map_type:]file...",
                         ":\t", parse_aliases};

class MapTool {
 public:
  MapTool(const Kind& kind, std::string program, std::string directory)
      : kind_(kind), program_(std::move(program)), directory_(std::move(directory)) {
    options_.warn = [this](const std::string& text) { warn(text); };
  }

  int run(int argc, char** argv) {
    std::string problem;
    if (!read_options(argc, argv, problem)) return fatal(problem.empty() ? kind_.usage : problem);
    if ((query_ ? 1 : 0) + (remove_ ? 1 : 0) + (list_ ? 1 : 0) > 1) return fatal("specify only one of -s or -q or -d");
    if (names_.empty()) return fatal(kind_.usage);
    const std::string type = config::Config::load(directory_, ignored_)->params().default_database_type;
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
    std::string like = path;
    if (increment_) {
      auto old = map::read_lmdb(path);
      if (!old && old.error().code != Errc::not_found) return fatal(old.error().context);
      if (old) {
        entries = std::move(*old);
        like = path + ".lmdb";
      }
      const std::string text{std::istreambuf_iterator<char>(std::cin), {}};
      map::BuildOptions quiet = options_;
      for (auto& [key, value] : kind_.parse(text, "stdin", quiet)) map::add_entry(entries, key, value, named(name));
    } else {
      const auto text = map::read_file(path, kSourceLimit);
      if (!text) return fatal(text.error().code == Errc::not_found ? fmt::format("open {}: No such file or directory", path) : text.error().context);
      entries = kind_.parse(*text, path, options_);
      if (kind_.parse == parse_aliases) {
        // What NIS expects of an alias table, as Sendmail and Postfix have it.
        entries.try_emplace("@", "@");
        entries.try_emplace("YP_LAST_MODIFIED", fmt::format("{:010}", wall_now() / 1000000));
        char host[256] = {};
        ::gethostname(host, sizeof host - 1);
        entries.try_emplace("YP_MASTER_NAME", host);
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
  bool read_options(int argc, char** argv, std::string& problem) {
    using Duplicates = map::BuildOptions::Duplicates;
    std::vector<char*> arguments(argv, argv + argc);
    arguments[0] = program_.data();
    arguments.push_back(nullptr);
    optind = 0;   // glibc: starts over
    for (int option; (option = ::getopt(argc, arguments.data(), "+bc:d:fFhimNnopq:rsuUvw")) != -1;) {
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
        case 'o':   // nothing is done as another user than the caller
        case 'u':
        case 'U':
        case 'v': break;
        case '?': return false;
        default:
          problem = fmt::format("option -{} is not supported", static_cast<char>(option));
          return false;
      }
    }
    names_.assign(arguments.begin() + optind, arguments.begin() + argc);
    return true;
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

  int query(const std::string& key) {
    map::TableOptions table_options;
    table_options.warn = options_.warn;
    table_options.proxy_read_maps = config::Config::load(directory_, ignored_)->params().proxy_read_maps;
    map::TableSet tables(std::move(table_options));
    std::vector<std::shared_ptr<map::Table>> opened;
    for (const std::string& name : names_) {
      auto table = tables.open(name);
      if (!table) return fatal(table.error().context);
      opened.push_back(std::move(*table));
    }
    bool found = false;
    const bool many = key == "-";
    for (const std::string& one : many ? keys_from_input() : std::vector<std::string>{key}) {
      for (const auto& table : opened) {
        const auto value = one.empty() ? map::Lookup(std::optional<std::string>()) : table->find(one);
        if (!value) return fatal("table " + value.error().context);
        if (!*value) continue;
        if ((*value)->empty()) warn("table " + table->name() + ": key " + one + ": the result is an empty string");
        many ? print(one, **value) : void(std::cout << **value << "\n");
        found = true;
        break;
      }
    }
    return found ? kGood : kFailed;
  }

  int list() {
    for (const std::string& name : names_) {
      const std::string type(map::table_type(name));
      map::Entries entries;
      if (type == "texthash") {
        const std::string path = name.substr(type.size() + 1);
        const auto text = map::read_file(path, kSourceLimit);
        if (!text) return fatal(fmt::format("open database {}: {}", path, text.error().context));
        map::BuildOptions options = options_;
        entries = map::parse_source(*text, path, options);
      } else if (type != "hash" && type != "btree" && type != "lmdb") {
        if (map::type_status(type) == map::TypeStatus::unknown) return fatal("unsupported dictionary type: " + type);
        return fatal(fmt::format("table {}: sequence operation is not supported", name));
      } else {
        auto stored = map::read_lmdb(name.substr(type.size() + 1));
        if (!stored) return fatal(stored.error().context);
        entries = std::move(*stored);
      }
      for (const auto& [key, value] : entries) print(key, value);
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
  bool list_ = false, increment_ = false;
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
