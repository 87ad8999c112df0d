// Config: the value of every name, by -o, main.cf and defaults, in that order.
#include "core/config/config.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>
#include <map>
#include <unistd.h>

#include "core/base/assert.h"
#include "core/base/strings.h"
#include "core/config/host.h"
#include "core/config/macro.h"
#include "core/config/main_cf.h"
#include "core/config/master_cf.h"
#include "core/config/names.h"
#include "core/config/services.h"
#include "core/config/support.h"

namespace millrace::config {

std::string Location::to_text() const { return line > 0 ? fmt::format("{}, line {}", file, line) : file; }

std::string Findings::Line::to_text() const {
  std::string out = where.to_text();
  for (const std::string& part : {parameter, text}) {
    if (part.empty()) continue;
    if (!out.empty()) out += ": ";
    out += part;
  }
  return out;
}

bool Findings::has_errors() const {
  return std::any_of(lines.begin(), lines.end(), [](const Line& line) { return line.is_error; });
}

static void add_finding(std::vector<Findings::Line>& lines, Findings::Line line) {
  const bool is_known = std::any_of(lines.begin(), lines.end(), [&line](const Findings::Line& old) {
    return old.is_error == line.is_error && old.where.line == line.where.line && old.where.file == line.where.file &&
           old.parameter == line.parameter && old.text == line.text;
  });
  if (!is_known) lines.push_back(std::move(line));
}

void Findings::error(Location where, std::string parameter, std::string text) {
  add_finding(lines, {true, std::move(where), std::move(parameter), std::move(text)});
}

void Findings::warning(Location where, std::string parameter, std::string text) {
  add_finding(lines, {false, std::move(where), std::move(parameter), std::move(text)});
}

struct Config::Impl {
  std::string directory;
  Location main_file, master_file;
  std::map<std::string, Entry, std::less<>> entries;
  std::vector<Service> services;
  std::map<std::string, DerivedName, std::less<>> derived;
  HostFacts host;
  std::string myhostname, mydomain, mynetworks;   // defaults of this machine
  std::string origin_file, origin;   // Debian's "myorigin = /etc/mailname": the file, and its first line
  Params params;

  std::optional<std::string> fixed(std::string_view name) const {
    if (name == "config_directory") return directory;
    if (name == "process_id") return std::to_string(getpid());
    if (name == "process_name") return "millrace";
    return {};
  }
  static const std::string* override_of(const Service* service, std::string_view name) {
    if (service == nullptr) return nullptr;
    const auto at = std::find_if(service->overrides.rbegin(), service->overrides.rend(),
                                 [name](const auto& item) { return item.first == name; });
    return at == service->overrides.rend() ? nullptr : &at->second;
  }
  std::optional<std::string> default_of(std::string_view name) const {
    if (auto value = fixed(name)) return value;
    if (name == "myhostname") return myhostname;
    if (name == "mydomain") return mydomain;
    if (name == "mynetworks") return mynetworks;
    if (const NameRow* row = find_name(name)) {
      if (row->name_class == NameClass::legacy) return {};
      return std::string(row->fallback);
    }
    const auto at = derived.find(name);
    if (at == derived.end()) return {};
    return at->second.fallback;
  }
  std::optional<std::string> raw(std::string_view name, const Service* service) const {
    if (auto value = fixed(name)) return value;
    if (name == "service_name" && service != nullptr) return service->name;
    if (const std::string* value = override_of(service, name)) return *value;
    if (const auto at = entries.find(name); at != entries.end()) return at->second.value;
    if (name == "mydomain") {   // follows the name that a service has for itself
      const std::string* own = override_of(service, "myhostname");
      if (own != nullptr && own->find('$') == std::string::npos) return default_mydomain(*own);
    }
    return default_of(name);
  }
  Result<std::string> expand(std::string_view text, const Service* service) const {
    return expand_macros(text, [&](std::string_view name) -> std::optional<std::string> {
      auto value = raw(name, service);
      return name == "myorigin" && value && !origin_file.empty() && *value == origin_file ? origin : value;
    }, Recurse::yes);
  }
  Location where(std::string_view name, const Service* service) const {
    if (override_of(service, name) != nullptr) return service->where;
    const auto at = entries.find(name);
    return {main_file.file, at == entries.end() ? 0 : at->second.line};
  }

  // As Debian's Postfix: a file name stands for the first line of the file.
  void read_origin(Findings& findings) {
    const std::string path = raw("myorigin", nullptr).value_or("");
    if (!path.starts_with('/')) return;
    std::ifstream file(path);
    std::string line;
    if (!std::getline(file, line) || trim(line).empty()) {
      return findings.error(where("myorigin", nullptr), "myorigin", fmt::format("cannot read a domain from {}", path));
    }
    origin_file = path;
    origin = trim(line);
  }

  // The defaults that depend on the machine and on each other: name, domain, networks.
  void compute_defaults(Findings& findings) {
    const auto own = entries.find("mydomain");
    myhostname = default_myhostname(host, own == entries.end() ? "" : expand(own->second.value, nullptr).value_or(""));
    mydomain = default_mydomain(expand("$myhostname", nullptr).value_or(myhostname));
    if (entries.count("mynetworks") != 0) return;
    const auto networks = default_mynetworks(host, expand("$mynetworks_style", nullptr).value_or(""),
                                             expand("$inet_interfaces", nullptr).value_or(""),
                                             expand("$inet_protocols", nullptr).value_or(""));
    if (networks) {
      mynetworks = *networks;
    } else {
      findings.error(where("inet_interfaces", nullptr), "mynetworks", networks.error().context);
    }
  }

  Params make_params(const Service* service, Findings* findings) const;
  void check_identity(Findings& findings) const;
};

namespace {

// Fills the fields of a Params, one call a row.
class Reader {
 public:
  using Value = std::function<Result<std::string>(const NameRow&)>;
  using Report = std::function<void(const NameRow&, const std::string&)>;
  Reader(Value value, Report report) : value_(std::move(value)), report_(std::move(report)) {}

  void read(std::string_view name, std::string& field) { text(name, field); }
  void read(std::string_view name, bool& field) {
    if (std::string value; text(name, value)) field = parse_bool(value).value_or(false);
  }
  void read(std::string_view name, std::int64_t& field) {
    if (std::string value; text(name, value)) field = parse_integer(value).value_or(0);
  }
  void read(std::string_view name, std::chrono::seconds& field) {
    if (std::string value; text(name, value)) {
      field = parse_time(value, default_unit(find_name(name)->fallback)).value_or(std::chrono::seconds(0));
    }
  }

 private:
  bool text(std::string_view name, std::string& out) {
    const NameRow* row = find_name(name);
    MR_ASSERT(row != nullptr);
    auto value = value_(*row);
    std::string why;
    if (!value) {
      report_(*row, value.error().context);
    } else if (!check_value(*row, *value, why)) {
      report_(*row, why);
    } else {
      out = std::move(*value);
      return true;
    }
    return false;
  }

  const Value value_;
  const Report report_;
};

bool read_file(const std::string& path, std::string& out, Findings& findings) {
  std::ifstream in(path, std::ios::binary);
  if (in) out.assign(std::istreambuf_iterator<char>(in), {});
  if (in && !in.bad()) return true;
  findings.error({path, 0}, "", fmt::format("cannot read: {}", std::strerror(errno)));
  return false;
}

}  // namespace

Params Config::Impl::make_params(const Service* service, Findings* findings) const {
  Params out;
  Reader reader(
      [&](const NameRow& row) -> Result<std::string> {
        std::string text = raw(row.name, service).value_or("");
        if (row.type == ValueType::raw) return text;
        if (row.name == "myorigin" && !origin_file.empty() && text == origin_file) return origin;
        return expand(text, service);
      },
      [&](const NameRow& row, const std::string& why) {
        if (findings != nullptr) findings->error(where(row.name, service), std::string(row.name), why);
      });
#define PARAM_STR(name, fallback, meaning) reader.read(#name, out.name);
#define PARAM_RAW(name, fallback, meaning) reader.read(#name, out.name);
#define PARAM_BOOL(name, fallback, meaning) reader.read(#name, out.name);
#define PARAM_INT(name, fallback, low, high, meaning) reader.read(#name, out.name);
#define PARAM_SIZE(name, fallback, low, high, meaning) reader.read(#name, out.name);
#define PARAM_TIME(name, fallback, low, high, meaning) reader.read(#name, out.name);
#include "core/config/params.def"
#undef PARAM_STR
#undef PARAM_RAW
#undef PARAM_BOOL
#undef PARAM_INT
#undef PARAM_SIZE
#undef PARAM_TIME
  return out;
}

// Mistakes between parameters that Postfix finds at start.
namespace {
// Labels of letters, digits, '-' and '_', no '-' at an end; what is not ASCII is left to others.
bool is_host_name(std::string_view name) {
  for (const std::string_view label : split(name, ".")) {
    if (label.empty() || label.size() > 63 || label.front() == '-' || label.back() == '-') return false;
    for (const char c : label) {
      if (!is_alnum(c) && c != '-' && c != '_' && static_cast<unsigned char>(c) < 0x80) return false;
    }
  }
  return !name.empty() && name.front() != '.' && name.back() != '.' && name.find("..") == name.npos;
}
}  // namespace

void Config::Impl::check_identity(Findings& findings) const {
  if (!params.myhostname.empty() && !is_host_name(params.myhostname)) {
    findings.error(where("myhostname", nullptr), "myhostname", fmt::format("bad host name: {}", printable(params.myhostname)));
  }
  for (const std::string_view word : split(params.inet_protocols, ", \t\r\n")) {
    if (iequals(word, "all") || iequals(word, "ipv4") || iequals(word, "ipv6")) continue;
    findings.error(where("inet_protocols", nullptr), "inet_protocols", fmt::format("unknown protocol: {}", printable(word)));
  }
  // All mail for relay_domains would wait.
  const std::string relay = params.relay_transport.substr(0, params.relay_transport.find(':'));
  const auto has_relay = [&](const Service& one) { return one.name == relay && one.type == "unix"; };
  if (entries.count("relay_transport") != 0 && !trim(params.relay_domains).empty() && !services.empty() && std::none_of(services.begin(), services.end(), has_relay)) {
    findings.error(where("relay_transport", nullptr), "relay_transport", fmt::format("no transport of this name in master.cf: {}", relay));
  }
  if (!parse_level(params.compatibility_level)) {
    findings.error(where("compatibility_level", nullptr), "compatibility_level",
                   fmt::format("bad compatibility level: {}", params.compatibility_level));
  }
  if (!params.relayhost.empty() && iequals(params.relayhost, params.myhostname)) {
    findings.error(where("relayhost", nullptr), "relayhost", "must not be the same as myhostname");
  }
  if (split(params.myorigin, ", \t\r\n").size() > 1) {
    findings.error(where("myorigin", nullptr), "myorigin", "must be one domain");
  }
}

Config::Config() : impl_(std::make_unique<Impl>()) {}
Config::~Config() = default;

std::shared_ptr<const Config> Config::load(const std::string& directory, Findings& findings) {
  std::string main_text, master_text;
  read_file(directory + "/main.cf", main_text, findings);
  read_file(directory + "/master.cf", master_text, findings);
  return from_text(main_text, master_text, findings, directory);
}

std::shared_ptr<const Config> Config::from_text(std::string_view main_cf, std::string_view master_cf,
                                                Findings& findings, const std::string& directory) {
  std::shared_ptr<Config> config(new Config);
  Impl& impl = *config->impl_;
  impl.directory = directory;
  impl.main_file = {directory + "/main.cf", 0};
  impl.master_file = {directory + "/master.cf", 0};
  for (Entry& entry : parse_main_cf(main_cf, impl.main_file.file, findings)) {
    std::string name = entry.name;
    impl.entries.emplace(std::move(name), std::move(entry));
  }
  const auto level = parse_level(impl.expand("$compatibility_level", nullptr).value_or(""));
  impl.services = parse_master_cf(master_cf, impl.master_file.file, !level || *level < parse_level("1"), findings);
  impl.derived = derived_names(impl.services);
  impl.host = HostFacts::of_system();
  impl.compute_defaults(findings);
  impl.read_origin(findings);
  impl.params = impl.make_params(nullptr, &findings);
  impl.check_identity(findings);
  for (const Service& service : impl.services) {
    const ServiceKind kind = service_kind(service);
    const bool is_run = kind == ServiceKind::server || kind == ServiceKind::client || kind == ServiceKind::answer;
    if (is_run && !service.overrides.empty()) config->params_for(service, &findings);
  }
  disable_services(impl.services, impl.params.master_service_disable, config->where("master_service_disable"), findings);
  check_services(*config, findings);
  check_support(*config, findings);
  check_unused(*config, findings);
  return config;
}

const std::string& Config::directory() const { return impl_->directory; }
const Params& Config::params() const { return impl_->params; }
const std::vector<Service>& Config::services() const { return impl_->services; }

std::shared_ptr<const Params> Config::params_for(const Service& service, Findings* findings) const {
  return std::make_shared<const Params>(impl_->make_params(&service, findings));
}

std::optional<std::string> Config::value(std::string_view name, const Service* service) const {
  auto text = impl_->raw(name, service);
  const NameRow* row = find_name(name);
  if (!text || (row != nullptr && row->type == ValueType::raw)) return text;
  if (name == "myorigin" && !impl_->origin_file.empty() && *text == impl_->origin_file) return impl_->origin;
  return expand(*text, service);
}

std::optional<std::string> Config::raw(std::string_view name, const Service* service) const {
  return impl_->raw(name, service);
}

bool Config::is_set(std::string_view name) const { return impl_->entries.count(name) != 0; }
Location Config::where(std::string_view name) const { return impl_->where(name, nullptr); }

std::string Config::expand(std::string_view text, const Service* service) const {
  return impl_->expand(text, service).value_or("");
}

Result<std::string> Config::try_expand(std::string_view text, const Service* service) const {
  return impl_->expand(text, service);
}

std::int64_t Config::transport_number(std::string_view transport, std::string_view suffix) const {
  const auto own = value(fmt::format("{}_{}", transport, suffix));
  return parse_integer(own ? *own : value(derived_fallback(suffix)).value_or("")).value_or(0);
}

std::chrono::seconds Config::transport_time(std::string_view transport, std::string_view suffix) const {
  const auto own = value(fmt::format("{}_{}", transport, suffix));
  return parse_time(own ? *own : value(derived_fallback(suffix)).value_or("")).value_or(std::chrono::seconds(0));
}

const Service* Config::transport(std::string_view name) const {
  for (const Service& service : impl_->services) {
    if (service.type == "unix" && service.name == name) return &service;
  }
  return nullptr;
}

std::optional<std::string> Config::default_of(std::string_view name) const {
  // Of the machine alone: main.cf's interfaces and style do not count here.
  if (name == "mynetworks") return default_mynetworks(impl_->host, "subnet", "all", "all").value_or("");
  return impl_->default_of(name);
}

std::vector<std::string> Config::known_names() const {
  std::vector<std::string> out;
  for (const NameRow& row : name_rows()) {
    if (row.name_class != NameClass::legacy) out.emplace_back(row.name);
  }
  for (const auto& [name, row] : impl_->derived) {
    if (find_name(name) == nullptr) out.push_back(name);
  }
  std::sort(out.begin(), out.end());
  return out;
}

std::vector<std::string> Config::set_names() const {
  std::vector<std::string> out;
  for (const auto& [name, entry] : impl_->entries) out.push_back(name);
  return out;
}

}  // namespace millrace::config
