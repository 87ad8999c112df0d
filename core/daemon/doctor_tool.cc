// `millrace doctor`: see try_tool.h.  Each finding is one line with what to do about it; exit 1 when there is one.
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>

#include "core/base/strings.h"
#include "core/config/services.h"
#include "core/daemon/child.h"
#include "core/daemon/try_tool.h"
#include "core/filter/element.h"
#include "core/milter/probe.h"
#include "core/net/fiber.h"

namespace millrace::daemon {
namespace {

constexpr auto kBudget = std::chrono::seconds(5);
constexpr std::uint32_t kChangesHeaders = 0x11, kChangesBody = 0x2;   // what breaks a signature: headers, body

struct Place {
  std::string parameter, service, address;   // service: of master.cf
  bool chroot = false;
};

struct Seen {
  Place place;
  std::optional<milter::Options> options;
};

class Doctor {
 public:
  explicit Doctor(const config::Config& config) : config_(config) {}

  // As the daemon's user, on a fiber.
  void examine() {
    for (const config::Service& service : config_.services()) {
      if (service.command != "smtpd") continue;
      const auto params = config_.params_for(service, nullptr);
      std::vector<Seen> chain;
      look("smtpd_filters", service.name, params->smtpd_filters, service.chroot, chain);
      look("smtpd_milters", service.name, params->smtpd_milters, service.chroot, chain);
      order(chain);
    }
    std::vector<Seen> chain;
    look("non_smtpd_milters", "cleanup", config_.params().non_smtpd_milters, false, chain);
    order(chain);
    authserv_ids();
    fmt::print("{} finding{}, {} filter{} looked at\n", findings_, findings_ == 1 ? "" : "s", looked_, looked_ == 1 ? "" : "s");
  }
  int findings() const { return findings_; }

 private:
  void say(const Place& place, const std::string& what) {
    ++findings_;
    fmt::print("{} ({}): {}: {}\n", place.parameter, place.service, place.address, what);
  }

  void look(const std::string& parameter, const std::string& service, const std::string& value, bool chroot, std::vector<Seen>& chain) {
    const auto elements = filter::split_braced(value);
    if (!elements) return;
    for (const std::string& element : *elements) {
      const auto parsed = filter::parse_element(element);
      if (!parsed) continue;
      std::string address = parsed->name;
      if (address.starts_with("milter:")) address = address.substr(7);
      if (!address.starts_with("unix:") && !address.starts_with("local:") && !address.starts_with("inet:")) continue;
      ++looked_;
      Seen seen{{parameter, service, address, chroot}, {}};
      if (address.starts_with("inet:")) seen.options = inet(seen.place);
      else seen.options = socket(seen.place, address.substr(address.find(':') + 1));
      chain.push_back(std::move(seen));
    }
  }

  std::optional<milter::Options> negotiate(const Place& place, const net::Endpoint& at) {
    auto options = milter::probe_options(at, kBudget);
    if (options) return std::move(*options);
    const Error& error = options.error();
    if (error.code == Errc::protocol) {
      say(place, error.context + ": this is not a milter; is it the port of another service (clamd instead of clamav-milter, rspamd's worker instead of its proxy)?");
    } else {
      say(place, "cannot connect as " + user_ + ": " + (error.code == Errc::timeout ? "timed out" : error.context));
    }
    return {};
  }

  std::optional<milter::Options> inet(const Place& place) {
    const auto at = milter::parse_probe_address(place.address);
    if (!at || place.address.find('@') != std::string::npos) {
      say(place, "write inet:host:port, not inet:port@host as milters themselves have it");
      return {};
    }
    return negotiate(place, *at);
  }

  // Who may reach the socket: each directory on the way, then the socket.
  std::optional<milter::Options> socket(const Place& place, const std::string& written) {
    const std::string& queue = config_.params().queue_directory;
    const std::string path = place.chroot || !written.starts_with('/') ? queue + "/" + written : written;
    struct stat status {};
    for (std::size_t at = 1; (at = path.find('/', at)) != path.npos; ++at) {
      const std::string directory = path.substr(0, at);
      if (::stat(directory.c_str(), &status) != 0) {
        say(place, directory + ": " + std::strerror(errno));
        return {};
      }
      if (::access(directory.c_str(), X_OK) != 0) {
        say(place, fmt::format("{} cannot enter the directory {} (mode {:o}): add it to the filter's group, or chmod o+x", user_, directory, status.st_mode & 07777));
        return {};
      }
    }
    if (::stat(path.c_str(), &status) != 0) {
      std::string hint;
      if (place.chroot && ::stat(written.c_str(), &status) == 0) {
        hint = fmt::format("; {} is there, but the service is chrooted: let the filter listen below {} or set chroot to n in master.cf", written, queue);
      } else if (!place.chroot && written.starts_with('/') && ::stat((queue + written).c_str(), &status) == 0) {
        hint = fmt::format("; {}{} is there: the path is written as for a chrooted service", queue, written);
      }
      say(place, path + ": " + std::strerror(ENOENT) + hint);
      return {};
    }
    if (!S_ISSOCK(status.st_mode)) {
      say(place, path + " is not a socket");
      return {};
    }
    if (::access(path.c_str(), R_OK | W_OK) != 0) {
      say(place, fmt::format("{} may not write to {} (mode {:o}, owner {}:{}): set the filter's umask, or add {} to its group", user_, path, status.st_mode & 07777,
                             status.st_uid, status.st_gid, user_));
      return {};
    }
    return negotiate(place, {path, 0, true});
  }

  static bool is_signer(const std::string& address) {
    const std::string name = lower(address);
    return name.find("dkim") != name.npos || name.find("arc") != name.npos || name.ends_with(":8891");
  }

  // A signer must be the last that changes what it signs.
  void order(const std::vector<Seen>& chain) {
    for (std::size_t i = 0; i < chain.size(); ++i) {
      if (!is_signer(chain[i].place.address)) continue;
      for (std::size_t k = i + 1; k < chain.size(); ++k) {
        if (!chain[k].options || is_signer(chain[k].place.address)) continue;
        const std::uint32_t actions = chain[k].options->actions;
        if ((actions & kChangesBody) != 0) {
          say(chain[k].place, "may replace the body after " + chain[i].place.address + " has signed or verified it: put the signer last");
        } else if ((actions & kChangesHeaders) != 0) {
          say(chain[k].place, "may change headers after " + chain[i].place.address + " has signed them: put the signer last");
        }
      }
    }
  }

  static std::string setting(const char* file, const char* name) {
    std::ifstream in(file);
    for (std::string line; std::getline(in, line);) {
      std::string_view rest = line;
      if (const std::size_t comment = rest.find('#'); comment != rest.npos) rest = rest.substr(0, comment);
      if (iequals(take_word(rest), name)) return std::string(trim(rest));
    }
    return {};
  }

  // What opendkim writes must be what opendmarc believes.
  void authserv_ids() {
    const std::string& host = config_.params().myhostname;
    const auto own = [&](std::string value) { return value.empty() || value == "HOSTNAME" ? host : value; };
    std::ifstream dkim("/etc/opendkim.conf"), dmarc("/etc/opendmarc.conf");
    if (!dkim || !dmarc) return;
    const std::string written = own(setting("/etc/opendkim.conf", "AuthservID"));
    const std::string trusted = setting("/etc/opendmarc.conf", "TrustedAuthservIDs");
    std::string list = trusted.empty() ? own(setting("/etc/opendmarc.conf", "AuthservID")) : trusted;
    for (const std::string_view word : split(list, ", \t")) {
      if (iequals(own(std::string(word)), written)) return;
    }
    ++findings_;
    fmt::print("authserv-id: opendkim writes \"{}\", opendmarc believes \"{}\": set AuthservID in one or TrustedAuthservIDs in the other\n", written, list);
  }

  const config::Config& config_;
  int findings_ = 0, looked_ = 0;

 public:
  std::string user_;
};

}  // namespace

int doctor_main(int argc, char** argv, const std::string& config_directory) {
  if (argc > 1) {
    fmt::print(stderr, "usage: millrace doctor\n");
    return 2;
  }
  (void)argv;
  config::Findings findings;
  const auto config = config::Config::load(config_directory, findings);
  Doctor doctor(*config);
  for (const auto& line : findings.lines) {
    if (line.is_error) fmt::print("{}\n", line.to_text());
  }
  const auto owner = find_owner(*config);
  doctor.user_ = owner ? owner->name : "this user";
  if (!owner) {
    fmt::print("{}\n", owner.error().context);
  } else if (auto changed = become(*owner); !changed) {
    fmt::print("{}\n", changed.error().context);
  }
  net::Loop loop;
  loop.post([&] {
    const bool started = loop.spawn(net::Stack::session, [&] {
      doctor.examine();
      loop.stop();
    }).has_value();
    if (!started) loop.stop();
  });
  loop.run();
  return doctor.findings() == 0 && !findings.has_errors() ? 0 : 1;
}

}  // namespace millrace::daemon
