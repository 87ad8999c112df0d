#include "core/config/master_cf.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netdb.h>

#include <array>
#include <map>

#include "core/base/strings.h"
#include "core/config/lines.h"
#include "core/config/main_cf.h"

namespace millrace::config {
namespace {

constexpr std::string_view kBlanks = " \t\r\n";
constexpr std::array kTypes = {"inet", "unix", "unix-dgram", "fifo", "pass"};
constexpr std::array kFieldNames = {"service name", "transport type", "private", "unprivileged",
                                    "chroot",       "wakeup",         "maxproc", "command"};

// Words at blanks; a "{…}" that begins inside a word is part of it, blanks and all.
std::vector<std::string> split_words(std::string_view text) {
  std::vector<std::string> out;
  std::size_t i = 0;
  for (;;) {
    i = text.find_first_not_of(kBlanks, i);
    if (i == std::string_view::npos) return out;
    const std::size_t start = i;
    for (int level = 0; i < text.size(); ++i) {
      if (text[i] == '{') {
        ++level;
      } else if (text[i] == '}' && level > 0) {
        --level;
      } else if (level == 0 && kBlanks.find(text[i]) != std::string_view::npos) {
        break;
      }
    }
    out.emplace_back(text.substr(start, i - start));
  }
}

// "{ text }" without braces and outer blanks; other words as they are.  False: unbalanced, or text after.
bool strip_braces(std::string& word) {
  if (word.empty() || word[0] != '{') return true;
  int level = 0;
  for (std::size_t i = 0; i < word.size(); ++i) {
    if (word[i] == '{') ++level;
    if (word[i] != '}' || --level > 0) continue;
    if (i + 1 != word.size()) return false;
    word = std::string(trim(std::string_view(word).substr(1, i - 1)));
    return true;
  }
  return false;
}

class Line {
 public:
  Line(Location where, bool chroot_default, Findings& findings) : findings_(findings) {
    service_.where = std::move(where);
    service_.chroot = chroot_default;
  }

  std::optional<Service> parse(std::string_view text) {
    service_.fields = split_words(text);
    if (service_.fields.size() < kFieldNames.size()) {
      error(fmt::format("missing \"{}\" field", kFieldNames[service_.fields.size()]));
      return {};
    }
    read_fields();
    read_arguments();
    if (!good_) return {};
    return std::move(service_);
  }

 private:
  void error(std::string text) {
    good_ = false;
    findings_.error(service_.where, service_.fields.empty() ? "" : printable(service_.fields[0]),
                    printable(text));
  }
  void bad_field(std::size_t field) {
    error(fmt::format("field \"{}\": bad value: \"{}\"", kFieldNames[field], service_.fields[field]));
  }
  bool is_default(std::size_t field) const { return service_.fields[field] == "-"; }

  void flag(std::size_t field, bool& value) {
    if (is_default(field)) return;
    const std::string& text = service_.fields[field];
    if (text != "y" && text != "n") return bad_field(field);
    value = text == "y";
  }

  void number(std::size_t field, std::string_view text, int& value) {
    if (is_default(field)) return;
    const auto parsed = parse_number<int>(text);
    if (!parsed) return bad_field(field);
    value = *parsed;
  }

  void read_fields() {
    service_.name = service_.fields[0];
    service_.type = service_.fields[1];
    bool known = false;
    for (const char* type : kTypes) known = known || service_.type == type;
    if (!known) bad_field(1);
    flag(2, service_.is_private);
    flag(3, service_.unprivileged);
    flag(4, service_.chroot);
    std::string_view wakeup = service_.fields[5];
    if (wakeup.size() > 1 && wakeup.back() == '?') {
      service_.wakeup_if_used = true;
      wakeup.remove_suffix(1);
    }
    number(5, wakeup, service_.wakeup_s);
    number(6, service_.fields[6], service_.process_limit);
    service_.command = service_.fields[7];
    if (is_default(7)) error("field \"command\" has no default value");
    if (service_.type != "inet") return;
    if (service_.is_private) error("inet service cannot be private");
    if (const auto endpoint = parse_inet_name(service_.name); !endpoint) error(endpoint.error().context);
  }

  // Daemon options as getopt(3) reads them ("-vo a=b", "-oa=b", "-o { a = b }"), then plain arguments.
  void read_arguments() {
    std::size_t i = kFieldNames.size();
    std::vector<std::string>& words = service_.fields;
    for (; i < words.size() && words[i].size() > 1 && words[i][0] == '-'; ++i) {
      if (words[i] == "--") break;
      for (std::size_t j = 1; j < words[i].size(); ++j) {
        if (words[i][j] == 'v') {
          ++service_.verbosity;
        } else if (words[i][j] != 'o') {
          service_.arguments.push_back({'-', words[i][j]});
        } else {
          split_option(i, j);
          read_override(++i);
          break;
        }
      }
    }
    for (; i < words.size(); ++i) {
      if (!strip_braces(words[i])) return error(fmt::format("braces do not match: \"{}\"", words[i]));
      service_.arguments.push_back(words[i]);
    }
  }

  // Makes "-vo" "a=b" of "-voa=b" and "-v" "-o" "a=b" of "-vo" "a=b", so that all forms print alike.
  void split_option(std::size_t& i, std::size_t j) {
    std::vector<std::string>& words = service_.fields;
    if (j + 1 < words[i].size()) words.insert(words.begin() + static_cast<long>(i) + 1, words[i].substr(j + 1));
    words[i].resize(j);
    if (j == 1) {
      words[i] = "-o";
    } else {
      words.insert(words.begin() + static_cast<long>(++i), "-o");
    }
  }

  void read_override(std::size_t i) {
    std::vector<std::string>& words = service_.fields;
    if (i >= words.size()) return error("option -o needs name=value");
    if (!strip_braces(words[i])) return error(fmt::format("braces do not match: \"{}\"", words[i]));
    std::string_view name, value;
    if (const char* problem = split_assignment(words[i], name, value)) {
      return error(fmt::format("-o {}: {}", words[i], problem));
    }
    service_.overrides.emplace_back(name, value);
    words[i] = service_.overrides.back().first + "=" + service_.overrides.back().second;
  }

  Findings& findings_;
  Service service_;
  bool good_ = true;
};

// Two names for one place must count as one: "25" and "smtp", "[127.0.0.1]:25" and "127.0.0.1:smtp".
std::string place(const Service& service) {
  if (service.type != "inet") return service.type + (service.is_private ? " private/" : " public/") + service.name;
  const auto endpoint = parse_inet_name(service.name);
  if (!endpoint) return service.name;
  std::string port = endpoint->port;
  if (!port.empty() && !is_digit(port[0])) {
    servent entry{};
    servent* found = nullptr;
    char buffer[1024];
    getservbyname_r(port.c_str(), "tcp", &entry, buffer, sizeof buffer, &found);
    if (found != nullptr) port = std::to_string(ntohs(static_cast<std::uint16_t>(found->s_port)));
  }
  return lower(endpoint->host) + ":" + port;
}

bool is_host(std::string_view text) {
  const std::string host(text);
  unsigned char address[16];
  if (inet_pton(AF_INET, host.c_str(), address) == 1 || inet_pton(AF_INET6, host.c_str(), address) == 1) return true;
  if (text.empty() || text.size() > 255) return false;
  bool has_letter = false;
  for (const std::string_view label : split(text, ".")) {
    if (label.size() > 63 || label.front() == '-' || label.back() == '-') return false;
    for (const char c : label) {
      if (!is_alnum(c) && c != '-' && c != '_' && static_cast<unsigned char>(c) < 128) return false;
      has_letter = has_letter || !is_digit(c);
    }
  }
  return has_letter && text.front() != '.' && text.find("..") == std::string_view::npos;
}

}  // namespace

Result<Endpoint> parse_inet_name(std::string_view name) {
  const auto bad = [name](const char* what) {
    return fail(Errc::config, fmt::format("{} in \"{}\"", what, printable(name)));
  };
  Endpoint out;
  if (!name.empty() && name[0] == '[') {
    const std::size_t end = name.find(']');
    if (end == std::string_view::npos) return bad("missing \"]\"");
    out.host = name.substr(1, end - 1);
    if (istarts_with(out.host, "ipv6:")) out.host.erase(0, 5);
    const std::string_view rest = name.substr(end + 1);
    if (!rest.empty() && rest[0] != ':') return bad("garbage after \"]\"");
    if (!rest.empty()) out.port = rest.substr(1);
  } else if (const std::size_t colon = name.rfind(':'); colon != std::string_view::npos) {
    out.host = name.substr(0, colon);
    out.port = name.substr(colon + 1);
  } else {
    out.port = name;
  }
  if (out.port.empty()) return bad("missing service information");
  if (is_digit(out.port[0]) && !parse_number<std::uint16_t>(out.port)) return bad("bad port number");
  if ((!out.host.empty() || name[0] == '[') && !is_host(out.host)) {
    return bad("valid hostname or network address required");
  }
  return out;
}

std::vector<Service> parse_master_cf(std::string_view text, const std::string& file, bool chroot_default,
                                     Findings& findings) {
  std::vector<Service> out;
  std::map<std::string, std::size_t> index;
  for (const LogicalLine& line : logical_lines(text)) {
    const Location where{file, line.number};
    if (line.continues_nothing) {
      findings.warning(where, "", fmt::format("logical line must not start with whitespace: \"{}\"",
                                              printable(line.text.substr(0, 30))));
      continue;
    }
    if (line.text.find('\0') != std::string::npos) {
      findings.error(where, "", "a null byte");
      continue;
    }
    auto service = Line(where, chroot_default, findings).parse(line.text);
    if (!service) continue;
    const auto [at, is_new] = index.emplace(place(*service), out.size());
    if (is_new) {
      out.push_back(std::move(*service));
      continue;
    }
    findings.warning(where, "", fmt::format("duplicate master.cf entry for service \"{}\" -- using the last entry",
                                            service->name));
    out[at->second] = std::move(*service);
  }
  return out;
}

}  // namespace millrace::config
