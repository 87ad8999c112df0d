#include "core/tools/map_tool.h"

#include <algorithm>
#include <cstdio>
#include <iostream>
#include <memory>
#include <optional>
#include <vector>

#include "core/config/config.h"
#include "core/map/build.h"
#include "core/map/table.h"

namespace millrace::tools {

namespace {

constexpr int kFound = 0, kNotFound = 1, kError = 2;

std::string program;   // the name messages begin with

void complain(const std::string& severity, const std::string& text) {
  std::fprintf(stderr, "%s: %s%s\n", program.c_str(), severity.c_str(), text.c_str());
}
void warn(const std::string& text) { complain("warning: ", text); }
int fatal(const std::string& text) {
  complain("fatal: ", text);
  return kError;
}
int usage(const std::string& what) {
  if (!what.empty()) complain("", what);
  std::fputs("usage: millrace map -q KEY|- [TYPE:]NAME …\n"
             "       millrace map [-w|-r] [TYPE:]FILE …   (hash, btree, lmdb)\n", stderr);
  return kError;
}

std::string default_type(const std::string& config_directory) {
  config::Findings findings;   // `check` reports them
  return config::Config::load(config_directory, findings)->params().default_database_type;
}

int query(const std::string& key, const std::vector<std::string>& names, const std::string& config_directory) {
  map::TableOptions table_options;
  table_options.warn = warn;
  if (std::any_of(names.begin(), names.end(), [](const std::string& name) { return name.find("proxy:") != name.npos; })) {
    config::Findings findings;   // `check` reports them
    table_options.proxy_read_maps = config::Config::load(config_directory, findings)->params().proxy_read_maps;
  }
  map::TableSet tables(std::move(table_options));
  std::vector<std::shared_ptr<map::Table>> opened;
  for (const std::string& name : names) {
    auto table = tables.open(name);
    if (!table) return fatal(table.error().context);
    opened.push_back(std::move(*table));
  }
  const auto find = [&](const std::string& wanted, bool with_key) {
    for (const auto& table : opened) {
      const auto value = table->find(wanted);
      if (!value) return fatal("table " + value.error().context);
      if (!*value) continue;
      if ((*value)->empty()) warn("table " + table->name() + ": key " + wanted + ": the result is an empty string");
      std::cout << (with_key ? wanted + "\t" : "") << **value << "\n";
      return kFound;
    }
    return kNotFound;
  };
  if (key != "-") return find(key, false);
  int result = kNotFound;
  for (std::string line; std::getline(std::cin, line);) {
    if (!line.empty() && line.back() == '\r') line.pop_back();
    const int one = find(line, true);
    if (one == kError) return kError;
    if (one == kFound) result = kFound;
  }
  return result;
}

int build(const std::vector<std::string>& names, const map::BuildOptions& options) {
  for (const std::string& name : names) {
    const std::string type(map::table_type(name));
    const std::string path = name.substr(type.size() + 1);
    if (type != "hash" && type != "btree" && type != "lmdb")
      return fatal(map::type_status(type) == map::TypeStatus::unknown
                       ? "unsupported dictionary type: " + type
                       : "table type " + type + " is not made from text (hash, btree and lmdb are)");
    if (path.empty()) return fatal("expecting \"type:name\" form instead of \"" + name + "\"");
    if (const auto built = map::build_lmdb(path, options); !built) return fatal(built.error().context);
  }
  return kFound;
}

}  // namespace

int map_main(int argc, char** argv, const std::string& config_directory) {
  program = argc > 0 ? argv[0] : "millrace";
  std::optional<std::string> key;
  std::vector<std::string> names;
  map::BuildOptions options;
  options.warn = warn;
  bool building_option = false;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (names.empty() && word.size() > 1 && word[0] == '-') {
      if (word.starts_with("-q")) {
        if (word.size() > 2) {
          key = word.substr(2);
        } else if (++i < argc) {
          key = argv[i];
        } else {
          return usage("option -q needs a key");
        }
      } else if (word == "-w" || word == "-r") {
        using Duplicates = map::BuildOptions::Duplicates;
        options.duplicates = word == "-w" ? Duplicates::ignore : Duplicates::replace;
        building_option = true;
      } else {
        return usage("unknown option " + word);
      }
    } else {
      names.push_back(map::looks_like_table(word) ? word : default_type(config_directory) + ":" + word);
    }
  }
  if (names.empty()) return usage("no table is named");
  if (key && building_option) return usage("-w and -r are for making a table, not for look-ups");
  return key ? query(*key, names, config_directory) : build(names, options);
}

}  // namespace millrace::tools
