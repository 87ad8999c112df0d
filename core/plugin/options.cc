// Plugins in main.cf: see options.h.
#include "core/plugin/options.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/base/strings.h"
#include "core/filter/element.h"
#include "core/plugin/filter.h"

namespace millrace::plugin {
namespace {

using nlohmann::json;

constexpr auto kDefaultTimeout = std::chrono::seconds(30);
constexpr std::string_view kPrefix = "plugin:";

// "plugin:NAME" or "plugin:NAME/ID".
Result<std::pair<std::string, std::string>> split_name(std::string_view text) {
  if (!text.starts_with(kPrefix)) return fail(Errc::config, "\"" + std::string(text) + "\" does not begin with plugin:");
  text.remove_prefix(kPrefix.size());
  const std::size_t slash = text.find('/');
  return std::pair(std::string(text.substr(0, slash)), slash == text.npos ? std::string() : std::string(text.substr(slash + 1)));
}

bool fits(const std::string& type, const std::string& value) {
  if (type == "integer") return config::parse_integer(value).has_value();
  if (type == "boolean") return config::parse_bool(value).has_value();
  if (type == "time") return config::parse_time(value).has_value();
  return true;
}

// "" when the keys are what the schema knows.
std::string check_schema(const mr_descriptor& descriptor, const json& keys) {
  if (descriptor.config_schema == nullptr) return {};
  const json schema = json::parse(descriptor.config_schema, nullptr, false);
  if (!schema.is_object()) return "its configuration schema is no JSON object";
  for (const auto& [name, value] : keys.items()) {
    const auto known = schema.find(name);
    if (known == schema.end() || !known->is_object()) return "unknown key \"" + name + "\"";
    const std::string type = known->value("type", "string");
    if (!fits(type, value.get<std::string>())) {
      return name + ": \"" + value.get<std::string>() + "\" is no " + type;
    }
  }
  return {};
}

const char* status_word(std::uint32_t status) {
  return status == MR_STATUS_STABLE ? "stable" : status == MR_STATUS_ALPHA ? "alpha" : "wip";
}

json bits(std::uint32_t value, std::initializer_list<const char*> names) {
  json out = json::array();
  for (const char* const name : names) {
    if ((value & 1) != 0) out.push_back(name);
    value >>= 1;
  }
  return out;
}

}  // namespace

namespace {

struct Loaded {
  std::shared_ptr<Instance> instance;
  std::string name;
  filter::Options options;
};

Result<Loaded> load(std::shared_ptr<const Library> library, std::string_view text, Host host,
                    const std::map<std::string, std::string>& more = {}, std::chrono::milliseconds timeout = kDefaultTimeout) {
  const auto element = filter::parse_element(text);
  if (!element) return tl::unexpected(element.error());
  const auto name = split_name(element->name);
  if (!name) return tl::unexpected(name.error());
  const mr_descriptor* const descriptor = library->find(name->second);
  if (descriptor == nullptr) return fail(Errc::config, "plugin " + library->name() + " has no filter \"" + name->second + "\"");

  filter::Options options;
  options.timeout = timeout;
  options.default_action = *filter::default_action_verdict("tempfail");
  json keys = more;
  if (more.empty()) keys = json::object();
  for (const filter::KeyValue& pair : element->keys) {
    if (pair.first == "default_action") {
      const auto verdict = filter::default_action_verdict(pair.second);
      if (!verdict) return fail(Errc::config, "default_action: \"" + pair.second + "\" is no such action");
      options.default_action = *verdict;
      continue;
    }
    if (pair.first == "max_connections") return fail(Errc::config, "max_connections: a plugin has no connections");
    const auto taken = filter::set_common_option(options, pair);
    if (!taken) return tl::unexpected(taken.error());
    if (!*taken) keys[pair.first] = pair.second;
  }
  if (const std::string problem = check_schema(*descriptor, keys); !problem.empty()) {
    return fail(Errc::config, "plugin " + library->name() + ": " + problem);
  }
  if (options.default_action.stops()) options.default_action.reason_id = "plugin-failed";
  auto instance = Instance::make(std::move(library), *descriptor,
                                 keys.dump(-1, ' ', false, json::error_handler_t::replace), std::move(host));
  if (!instance) return tl::unexpected(instance.error());
  return Loaded{std::move(*instance), element->name, std::move(options)};
}

Result<std::shared_ptr<const Library>> open_library(const std::string& directory, std::string_view text) {
  const auto element = filter::parse_element(text);
  if (!element) return tl::unexpected(element.error());
  const auto name = split_name(element->name);
  if (!name) return tl::unexpected(name.error());
  auto library = Library::open(directory, name->first);
  if (!library) return fail(library.error().code, fmt::format("plugin:{}: {}", name->first, library.error().context));
  return library;
}

void complete_host(Host& host, const config::Params& params) {
  host.body_limit = params.message_size_limit;
  if (host.authserv_id.empty()) host.authserv_id = params.myhostname;
}

}  // namespace

Result<std::shared_ptr<filter::Filter>> make_filter(std::shared_ptr<const Library> library, std::string_view text, Host host) {
  auto loaded = load(std::move(library), text, std::move(host));
  if (!loaded) return tl::unexpected(loaded.error());
  return make_plugin_filter(std::move(loaded->instance), loaded->name, std::move(loaded->options));
}

Result<std::shared_ptr<filter::Filter>> make_filter(const std::string& directory, std::string_view text, Host host) {
  auto library = open_library(directory, text);
  if (!library) return tl::unexpected(library.error());
  return make_filter(std::move(*library), text, std::move(host));
}

std::shared_ptr<filter::Filter> make_filter(const config::Config& config, const config::Params& params,
                                            std::string_view text, config::Findings& findings, Host host,
                                            const std::string& parameter) {
  complete_host(host, params);
  auto made = make_filter(params.plugin_directory, text, std::move(host));
  if (made) return *made;
  findings.error(config.where(parameter), parameter, made.error().context);
  return nullptr;
}

Result<std::shared_ptr<Restriction>> make_restriction(const config::Params& params, std::string_view text, Host host) {
  complete_host(host, params);
  auto library = open_library(params.plugin_directory, text);
  if (!library) return tl::unexpected(library.error());
  auto loaded = load(std::move(*library), text, std::move(host));
  if (!loaded) return tl::unexpected(loaded.error());
  return Restriction::make(std::move(loaded->instance), std::move(loaded->options));
}

Result<std::shared_ptr<Restriction>> make_restriction(const std::string& directory, std::string_view text, Host host,
                                                      const std::map<std::string, std::string>& more,
                                                      std::chrono::milliseconds timeout) {
  auto library = open_library(directory, text);
  if (!library) return tl::unexpected(library.error());
  auto loaded = load(std::move(*library), text, std::move(host), more, timeout);
  if (!loaded) return tl::unexpected(loaded.error());
  return Restriction::make(std::move(loaded->instance), std::move(loaded->options));
}

std::string describe(const Library& library) {
  json out;
  out["plugin"] = library.name();
  const mr_entry& entry = library.entry();
  out["abi"] = std::to_string(entry.abi_major) + "." + std::to_string(entry.abi_minor) + " draft " + std::to_string(entry.abi_draft);
  if (entry.sdk_version != nullptr) out["sdk"] = entry.sdk_version;
  if (entry.build_id != nullptr) out["build"] = entry.build_id;
  out["filters"] = json::array();
  for (const mr_descriptor* const d : library.descriptors()) {
    json one;
    one["id"] = d->id;
    one["version"] = d->version;
    one["summary"] = d->summary;
    one["status"] = status_word(d->status);
    one["posture"] = d->posture == MR_POSTURE_ROBUST ? "robust" : "trusted input only";
    one["stages"] = bits(d->stages, {"connect", "helo", "mail", "rcpt", "data", "message", "abort", "close", "unknown"});
    one["edits"] = bits(d->edits, {"headers", "body", "envelope"});
    one["body"] = d->body_need == MR_BODY_WHOLE ? "whole" : "none";
    one["threads"] = d->threads == MR_THREADS_SERIAL ? "serial" : "free";
    one["traits"] = bits(d->traits, {"blocks", "deterministic", "network", "files"});
    if (MR_HAS(mr_descriptor, d, after)) {
      for (const auto& [word, wishes] : {std::pair("before", d->before), std::pair("after", d->after)}) {
        for (const char* const* wish = wishes; wish != nullptr && *wish != nullptr; ++wish) one[word].push_back(*wish);
      }
    }
    if (d->config_schema != nullptr) one["config"] = json::parse(d->config_schema, nullptr, false);
    out["filters"].push_back(std::move(one));
  }
  return out.dump(2, ' ', false, json::error_handler_t::replace);
}

}  // namespace millrace::plugin
