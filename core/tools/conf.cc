#include "core/tools/conf.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <map>
#include <set>

#include "core/base/strings.h"
#include "core/config/main_cf.h"
#include "core/config/master_cf.h"
#include "core/config/names.h"
#include "core/config/support.h"
#include "core/tools/conf_print.h"
#include "core/tools/files.h"
#include "core/tools/manual.h"

namespace millrace::tools {
namespace {

using config::Findings;
using config::Service;

enum class Group { builtin, service, user };

class Conf {
 public:
  explicit Conf(const ConfRequest& request) : request_(request) {}

  ConfResult run() {
    try_run();
    return std::move(result_);
  }

 private:
  bool fatal(std::string text) {
    result_.err += "fatal: " + text + "\n";
    result_.status = 1;
    return false;
  }
  void warning(const std::string& text) { result_.err += "warning: " + text + "\n"; }

  void try_run() {
    if (request_.what == ConfRequest::What::manual) {
      result_.out = main_cf_manual();
      return;
    }
    if (request_.what == ConfRequest::What::table_types) {
      for (const char* type : {"btree", "cidr", "hash", "inline", "lmdb", "pcre", "regexp", "static", "texthash"}) {
        result_.out += std::string(type) + "\n";
      }
      return;
    }
    if (request_.edit != ConfRequest::Edit::none) {
      edit();
      return;
    }
    if (!load()) return;
    switch (request_.what) {
      case ConfRequest::What::services: return show_services();
      case ConfRequest::What::fields: return show_fields();
      case ConfRequest::What::service_parameters: return show_service_parameters();
      default: return show_parameters();
    }
  }

  // Only what keeps the files from being read is fatal here: `conf` is how bad values are looked for.
  bool load() {
    std::string main_text, master_text, problem;
    const std::string main_path = request_.directory + "/main.cf", master_path = request_.directory + "/master.cf";
    if (!read_whole(main_path, main_text, problem)) return fatal(problem);
    if (!read_whole(master_path, master_text, problem)) {
      if (request_.what != ConfRequest::What::parameters) return fatal(problem);
      warning(problem);
    }
    Findings syntax, ignored;
    config::parse_main_cf(main_text, main_path, syntax);
    config::parse_master_cf(master_text, master_path, false, syntax);
    for (const auto& line : syntax.lines) {
      if (line.is_error) return fatal(line.to_text());
      warning(line.to_text());
    }
    config_ = config::Config::from_text(main_text, master_text, ignored, request_.directory);
    unused_ = config::unused_names(*config_);
    derived_ = config::derived_names(config_->services());
    for (const std::string& text : request_.overrides) {
      std::string_view name, value;
      if (const char* what = config::split_assignment(text, name, value)) return fatal(fmt::format("-o {}: {}", text, what));
      scope_.overrides.emplace_back(name, value);
    }
    return true;
  }

  Group group_of(std::string_view name) const {
    if (derived_.find(name) != derived_.end()) return Group::service;
    const auto* row = config::find_name(name);
    return row != nullptr && row->name_class != config::NameClass::legacy ? Group::builtin : Group::user;
  }
  bool is_wanted(std::string_view name) const {
    if (request_.classes.empty()) return true;
    static constexpr std::array kNames = {"builtin", "service", "user"};
    for (const std::string& word : request_.classes) {
      if (word == "all" || word == kNames[static_cast<std::size_t>(group_of(name))]) return true;
    }
    return false;
  }
  // Known by itself, or given a value that something uses.
  bool exists(const std::string& name) const {
    if (config_->default_of(name)) return true;
    if (request_.defaults) return false;
    return (config_->is_set(name) && unused_.count(name) == 0) || scope_has(name);
  }
  bool scope_has(std::string_view name) const {
    for (const auto& [key, value] : scope_.overrides) {
      if (key == name) return true;
    }
    return false;
  }
  bool is_explicit(const std::string& name) const {
    if (name == "config_directory") return request_.directory != "/etc/postfix";
    return config_->is_set(name) || scope_has(name);
  }

  void show_parameters() {
    if (!request_.names.empty()) {
      for (const std::string& name : request_.names) {
        if (!exists(name)) {
          warning(name + ": unknown parameter");
        } else if (!request_.explicit_only || is_explicit(name)) {
          if (!show(name)) return;
        }
      }
    } else {
      std::vector<std::string> names = config_->known_names();
      if (!request_.defaults) {
        for (const std::string& name : config_->set_names()) names.push_back(name);
      }
      std::sort(names.begin(), names.end());
      names.erase(std::unique(names.begin(), names.end()), names.end());
      for (const std::string& name : names) {
        if (!exists(name) || !is_wanted(name) || (request_.explicit_only && !is_explicit(name))) continue;
        if (!show(name)) return;
      }
    }
    Findings unused;
    config::check_unused(*config_, unused);
    for (const auto& line : unused.lines) warning(line.to_text());
  }

  bool show(const std::string& name) {
    std::string value = (request_.defaults ? config_->default_of(name) : config_->raw(name, &scope_)).value_or("");
    const auto* row = config::find_name(name);
    if (request_.expand && (row == nullptr || row->type != config::ValueType::raw)) {
      auto expanded = request_.defaults ? config::expand_macros(
                                              value, [this](std::string_view key) { return config_->default_of(key); },
                                              config::Recurse::yes)
                                        : config_->try_expand(value, &scope_);
      if (!expanded) return fatal(fmt::format("{}: {}: {}", config_->where(name).to_text(), name, expanded.error().context));
      value = std::move(*expanded);
    }
    if (request_.hide_name) {
      result_.out += print_words(value, request_.fold);
    } else {
      result_.out += print_words(request_.hide_value ? name : name + " = " + value, request_.fold);
    }
    return true;
  }

  template <typename Show>
  void for_services(Show show) {
    if (request_.names.empty()) {
      for (const Service& service : config_->services()) show(service, "");
      return;
    }
    std::vector<bool> matched(request_.names.size());
    for (const Service& service : config_->services()) {
      for (std::size_t i = 0; i < request_.names.size(); ++i) {
        std::vector<std::string_view> parts = split(request_.names[i], "/");
        const auto fits = [](std::string_view pattern, std::string_view text) { return pattern == "*" || pattern == text; };
        if (parts.empty() || !fits(parts[0], service.name) || (parts.size() > 1 && !fits(parts[1], service.type))) continue;
        if (show(service, parts.size() > 2 && parts[2] != "*" ? parts[2] : std::string_view())) matched[i] = true;
      }
    }
    for (std::size_t i = 0; i < matched.size(); ++i) {
      if (!matched[i]) warning(fmt::format("unmatched request: \"{}\"", request_.names[i]));
    }
  }

  void show_services() {
    for_services([this](const Service& service, std::string_view) {
      result_.out += print_service(service, request_.fold, expander(service));
      return true;
    });
  }

  void show_fields() {
    for_services([this](const Service& service, std::string_view wanted) {
      bool shown = false;
      for (const auto& [field, value] : service_fields(service, expander(service))) {
        if (!wanted.empty() && wanted != field) continue;
        print_nested(service, field, value, " = ");
        shown = true;
      }
      return shown;
    });
  }

  void show_service_parameters() {
    for_services([this](const Service& service, std::string_view wanted) {
      bool shown = false;
      std::map<std::string, std::string> last(service.overrides.begin(), service.overrides.end());
      for (const auto& [name, value] : service.overrides) last[name] = value;
      for (const auto& [name, value] : last) {
        if (!wanted.empty() && wanted != name) continue;
        print_nested(service, name, request_.expand ? config_->expand(value, &service) : value, " = ");
        shown = true;
      }
      return shown;
    });
  }

  void print_nested(const Service& service, std::string_view field, const std::string& value, std::string_view between) {
    std::string line;
    if (!request_.hide_name) line = fmt::format("{}/{}/{}", service.name, service.type, field);
    if (!request_.hide_name && !request_.hide_value) line += between;
    if (!request_.hide_value) line += value;
    result_.out += print_words(line, request_.fold);
  }

  Expand expander(const Service& service) const {
    if (!request_.expand) return {};
    return [this, &service](const std::string& text) { return config_->expand(text, &service); };
  }

  void edit() {
    const bool main_cf = request_.what == ConfRequest::What::parameters;
    if (request_.fold) {
      fatal("specify one of -e -f");
      return;
    }
    const std::string path = request_.directory + (main_cf ? "/main.cf" : "/master.cf");
    std::string text, problem;
    if (!read_whole(path, text, problem)) {
      fatal(problem);
      return;
    }
    std::vector<std::string> warnings;
    const std::string edited = main_cf ? edit_main_cf(text, request_.edit, request_.names, warnings, problem)
                                       : edit_master_cf(text, request_.what, request_.edit, request_.names, warnings, problem);
    if (!problem.empty()) {
      fatal(problem);
      return;
    }
    for (const std::string& line : warnings) warning(main_cf ? fmt::format("{}: {}", path, line) : line);
    if (!replace_whole(path, edited, problem)) fatal(problem);
  }

  const ConfRequest& request_;
  ConfResult result_;
  std::shared_ptr<const config::Config> config_;
  std::set<std::string, std::less<>> unused_;
  std::map<std::string, config::DerivedName, std::less<>> derived_;
  Service scope_;   // holds -o; belongs to no service
};

}  // namespace

ConfResult conf(const ConfRequest& request) { return Conf(request).run(); }

int conf_main(int argc, char** argv, const std::string& config_directory) {
  ConfRequest request;
  request.directory = config_directory;
  bool edit = false, remove = false, comment_out = false;
  bool services = false, fields = false, service_parameters = false, table_types = false, manual = false;
  int verbose = 0;
  bool all = false;
  std::vector<std::string> classes;

  CLI::App app("shows and edits the configuration", argv[0]);
  app.set_help_flag("--help", "this text");
  app.add_option("-c", request.directory, "configuration directory");
  app.add_option("-C", classes, "classes: builtin, service, user, all")->delimiter(',')->expected(1)->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  app.add_flag("-d", request.defaults, "defaults, not actual values");
  app.add_flag("-e", edit, "edit main.cf: name=value");
  app.add_flag("-f", request.fold, "fold long lines");
  app.add_flag("-F", fields, "fields of master.cf");
  app.add_flag("-h", request.hide_name, "values without names");
  app.add_flag("-H", request.hide_value, "names without values");
  app.add_flag("-m", table_types, "table types");
  app.add_flag("-M", services, "entries of master.cf: name[/type]");
  app.add_flag("-n", request.explicit_only, "only what main.cf sets");
  app.add_option("-o", request.overrides, "name=value instead of main.cf's")->expected(1)->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  app.add_flag("-p", all, "parameters of main.cf (the default)");
  app.add_flag("-P", service_parameters, "-o values of master.cf");
  app.add_flag("-v", verbose, "taken for compatibility: there is nothing more to tell");
  app.add_flag("-x", request.expand, "expand $name");
  app.add_flag("-X", remove, "remove from main.cf: names");
  app.add_flag("-#", comment_out, "comment out in main.cf: names");
  app.add_flag("--man", manual, "the manual page main.cf(5)");
  app.add_option("names", request.names, "names, or name=value");
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    fmt::print("{}", app.help());
    return 0;
  } catch (const CLI::ParseError& error) {
    fmt::print(stderr, "{}: fatal: {}\n", argv[0], error.what());
    return 1;
  }
  request.classes = classes;
  if (services + fields + service_parameters + table_types + manual > 1 || edit + remove + comment_out > 1 ||
      (request.defaults && request.explicit_only)) {
    fmt::print(stderr, "{}: fatal: these options exclude each other\n", argv[0]);
    return 1;
  }
  using What = ConfRequest::What;
  request.what = services ? What::services : fields ? What::fields : service_parameters ? What::service_parameters
                 : table_types ? What::table_types : manual ? What::manual : What::parameters;
  // "name=value" is an edit also without -e (Postfix 2.8).
  for (const std::string& name : request.names) {
    if (name.find('=') != std::string::npos && !remove && !comment_out) edit = true;
  }
  request.edit = edit ? ConfRequest::Edit::set : remove ? ConfRequest::Edit::remove
                 : comment_out ? ConfRequest::Edit::comment_out : ConfRequest::Edit::none;
  const ConfResult result = conf(request);
  fmt::print("{}", result.out);
  std::fflush(stdout);
  for (const std::string_view line : split(result.err, "\n")) fmt::print(stderr, "{}: {}\n", argv[0], line);
  return result.status;
}

}  // namespace millrace::tools
