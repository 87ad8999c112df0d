#include "core/local/delivery_task.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <functional>

#include "core/base/clock.h"
#include "core/base/strings.h"
#include "core/local/alias_list.h"
#include "core/local/alias_maps.h"
#include "core/local/exec.h"
#include "core/local/identity.h"
#include "core/local/mailbox.h"
#include "core/local/report.h"
#include "core/local/task_files.h"
#include "core/local/user_command.h"
#include "core/map/text.h"
#include "core/rewrite/router.h"

namespace millrace::local {
namespace {

using Status = deliver::Outcome::Status;
using Kind = Destination::Kind;

constexpr int kMessage = 0, kReport = 1;
constexpr std::size_t kMaxList = 16 * 1024 * 1024;   // bytes of a .forward or :include: file
constexpr int kMaxNesting = 20;                      // of :include: in :include:
constexpr int kDone = 0, kNothing = 3;               // exit status of a part

class Task {
 public:
  Task(const config::Config& config, const config::Service& service, const Request& request)
      : config_(config), service_(service), request_(request), params_(*config.params_for(service, nullptr)) {
    map::set_owner_request_special(params_.owner_request_special);
  }

  void run() {
    switch (request_.kind) {
      case TaskKind::alias: alias(); break;
      case TaskKind::forward: forward(); break;
      case TaskKind::mailbox: user_mailbox(); break;
      case TaskKind::virtual_mailbox: virtual_mailbox(); break;
      case TaskKind::pipe: break;
    }
  }
  static void say(const Record& record) {
    std::string bytes;
    encode(record, bytes);
    for (std::string_view left = bytes; !left.empty();) {
      const ssize_t n = ::write(kReport, left.data(), left.size());
      if (n < 0 && errno != EINTR) ::_exit(1);   // nobody listens
      if (n > 0) left.remove_prefix(static_cast<std::size_t>(n));
    }
  }

 private:
  const std::string& fact(Tag tag) const { return request_.value(tag); }
  static void outcome(Status status, std::string dsn, std::string text) {
    say({Record::Kind::outcome, status, std::move(dsn), std::move(text)});
  }
  static void put_off(std::string dsn, std::string text) { outcome(Status::deferred, std::move(dsn), std::move(text)); }
  static void warn(std::string text) { say({Record::Kind::warning, Status::pending, {}, std::move(text)}); }

  // Somebody asks whether it could be delivered.
  bool verifying() const { return !fact(Tag::verify).empty(); }
  static void deliverable(const std::string& text) { outcome(Status::sent, "2.0.0", "delivers to " + text); }

  // Runs `part` in a process of that identity; its exit status, or kDone after a failure that was reported.  Root's is
  // that of an owner of files alone, and only what writes a mailbox is to have it.
  enum class Root { no, as_owner };
  int as(const Identity& identity, const std::function<int()>& part, Root root = Root::no) {
    const pid_t pid = ::fork();
    if (pid < 0) {
      put_off("4.3.0", std::string("fork: ") + std::strerror(errno));
      return kDone;
    }
    if (pid == 0) {
      const bool owner = root == Root::as_owner && identity.uid == 0;
      if (const auto taken = owner ? take_ownership(identity.gid) : take_identity(identity); !taken) {
        put_off("4.3.0", "mail system error: " + taken.error().context);
        ::_exit(kDone);
      }
      ::umask(077);
      ::_exit(part());
    }
    int status = 0;
    while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    if (WIFEXITED(status) && (WEXITSTATUS(status) == kDone || WEXITSTATUS(status) == kNothing)) return WEXITSTATUS(status);
    put_off("4.3.0", "mail system error: the delivery process died");
    return kDone;
  }

  std::optional<Identity> default_identity() {
    const auto found = find_identity(params_.default_privs);
    if (found && found->uid != 0) return *found;
    put_off("4.3.5", "mail system configuration error");
    warn("default_privs: " + (found ? "nothing runs with the rights of root" : found.error().context));
    return std::nullopt;
  }

  // The account of the request; its absence is reported.
  std::optional<Identity> account() {
    const auto found = find_identity(fact(Tag::user));
    if (!found) {
      say({Record::Kind::no_user, Status::pending, {}, {}});
      return std::nullopt;
    }
    return *found;
  }

  bool delivered_header(const char* place) const {
    for (const std::string_view word : split(params_.prepend_delivered_header, ", \t\r\n")) {
      if (iequals(word, place)) return true;
    }
    return false;
  }

  CopyOptions copy_options(const char* place) const {
    CopyOptions out;
    out.return_path = true;
    out.sender = rewrite::quote_local(fact(Tag::sender));
    out.original = rewrite::quote_local(fact(Tag::original));
    out.original_to = params_.enable_original_recipient && !out.original.empty();
    out.delivered = rewrite::quote_local(fact(Tag::delivered));
    out.delivered_to = place == nullptr || delivered_header(place);
    out.when = wall_now() / 1'000'000;
    return out;
  }

  static std::string filtered(std::string_view text, const std::string& allowed) {
    std::string out(text);
    for (char& c : out) {
      if (allowed.find(c) == allowed.npos) c = '_';
    }
    return out;
  }

  // $user, $home … of forward_path and command_execution_directory; nullopt when a name has no value.
  std::optional<std::string> expand(const std::string& text, const Identity& who, const std::string& allowed,
                                    bool* used_extension = nullptr) const {
    bool undefined = false;
    const auto value = [&](std::string_view name) -> std::optional<std::string> {
      std::string out;
      if (name == "extension" && used_extension != nullptr) *used_extension = true;
      if (name == "home") out = who.home;
      else if (name == "shell") out = who.shell;
      else if (name == "user") out = fact(Tag::user);
      else if (name == "local") out = fact(Tag::local_part);
      else if (name == "domain") out = fact(Tag::domain);
      else if (name == "recipient") out = fact(Tag::recipient);
      else if (name == "extension") out = fact(Tag::extension);
      else if (name == "recipient_delimiter") out = fact(Tag::delimiter);
      if (out.empty()) {
        undefined = true;
        return std::nullopt;
      }
      return filtered(out, allowed);
    };
    auto out = config::expand_macros(text, value);
    if (!out || undefined) return std::nullopt;
    return *out;
  }

  bool allowed(const std::string& places, const char* place) const {
    for (const std::string_view word : split(places, ", \t\r\n")) {
      if (iequals(word, place)) return true;
    }
    return false;
  }

  void command(const std::string& text, const Identity& who, bool is_user, const char* place) {
    if (place != nullptr && !allowed(params_.allow_mail_to_commands, place)) {
      return outcome(Status::bounced, "5.7.1", "mail to command is restricted");
    }
    if (verifying()) return deliverable("command: " + text);
    const std::string& filter = params_.command_expansion_filter;
    Environment more;
    const auto add = [&](const char* name, const std::string& value) {
      if (!value.empty()) more.emplace_back(name, value);
    };
    if (is_user) {
      add("HOME", who.home);
      add("SHELL", who.shell);
    }
    more.emplace_back("LOGNAME", filtered(fact(Tag::user), filter));
    more.emplace_back("USER", filtered(fact(Tag::user), filter));
    more.emplace_back("SENDER", filtered(fact(Tag::sender), filter));
    const std::pair<const char*, Tag> values[] = {
        {"EXTENSION", Tag::extension}, {"DOMAIN", Tag::domain}, {"LOCAL", Tag::local_part}, {"RECIPIENT", Tag::recipient},
        {"ORIGINAL_RECIPIENT", Tag::original}, {"CLIENT_ADDRESS", Tag::client_address},
        {"CLIENT_HELO", Tag::client_helo}, {"CLIENT_HOSTNAME", Tag::client_hostname}, {"CLIENT_PROTOCOL", Tag::client_protocol},
        {"SASL_METHOD", Tag::sasl_method}, {"SASL_SENDER", Tag::sasl_sender}, {"SASL_USERNAME", Tag::sasl_username}};
    for (const auto& [name, tag] : values) add(name, filtered(fact(tag), filter));
    UserCommand run;
    run.text = text;
    run.shell = params_.local_command_shell;
    run.environment = command_environment(config_, more);
    run.identity = who;
    run.limit = params_.command_time_limit;
    run.directory = params_.queue_directory;
    if (!params_.command_execution_directory.empty()) {
      const auto directory = expand(params_.command_execution_directory, who, params_.execution_directory_expansion_filter);
      if (!directory) return put_off("4.3.0", "bad command_execution_directory");
      run.directory = *directory;
    }
    CopyOptions options = copy_options("command");
    options.from_line = true;
    const deliver::Outcome end = command_outcome(run_user_command(run, kMessage, options), "delivered to command: " + text);
    outcome(end.status, end.dsn, end.text);
  }

  std::optional<MailboxRules> mailbox_rules(const std::string& locks, std::int64_t limit, uid_t owner) {
    MailboxRules out;
    if (!parse_locks(locks, out)) {
      put_off("4.3.5", "mail system configuration error");
      warn("bad lock type in: " + locks);
      return std::nullopt;
    }
    out.lock_attempts = static_cast<int>(params_.deliver_lock_attempts);
    out.lock_delay = params_.deliver_lock_delay;
    out.stale_lock = params_.stale_lock_time;
    out.size_limit = static_cast<std::uint64_t>(limit);
    out.check_owner = params_.strict_mailbox_ownership;
    out.owner = owner;
    return out;
  }

  // What a failed mailbox delivery is: the recipient's fault (5) or the moment's (4).
  static void not_placed(const Placed& placed, const std::string& text) {
    outcome(placed.dsn[0] == '5' ? Status::bounced : Status::deferred, placed.dsn, text);
  }

  void file(const std::string& path, const Identity& who, const char* place) {
    if (!allowed(params_.allow_mail_to_files, place)) return outcome(Status::bounced, "5.7.1", "mail to file is restricted");
    if (verifying()) return deliverable(path.ends_with('/') ? "maildir" : "file: " + path);
    auto rules = mailbox_rules(params_.mailbox_delivery_lock, params_.mailbox_size_limit, who.uid);
    if (!rules) return;
    rules->check_owner = false;
    const bool maildir = path.ends_with('/');
    const Placed placed = maildir ? put_in_maildir(path, kMessage, copy_options("file"), *rules, params_.myhostname)
                                  : append_to_file(path, kMessage, copy_options("file"), *rules);
    if (placed.ok) return outcome(Status::sent, "2.0.0", maildir ? "delivered to maildir" : "delivered to file: " + path);
    not_placed(placed, maildir ? "maildir delivery failed: " + placed.reason
                               : fmt::format("cannot append message to file {}: {}", path, placed.reason));
  }

  // Addresses are the asking process's business; the others are done here and now, as `who`.
  void destination(const Destination& one, const Identity& who, bool is_user, const char* place, int nesting) {
    switch (one.kind) {
      case Kind::address:
        return say({Record::Kind::address, Status::pending, nesting > 0 ? kFromInclude : "", one.text});
      case Kind::command: return command(one.text, who, is_user, place);
      case Kind::file: return file(one.text, who, place);
      case Kind::include: {
        const File list(::open(one.text.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
        if (list.get() < 0) {
          return no_list(one.text);
        }
        return include(list.get(), one.text, who, is_user, nesting);
      }
    }
  }

  static void no_list(const std::string& path) {
    warn(fmt::format("unable to lookup :include: file {}: {}", path, std::strerror(errno)));
    outcome(Status::bounced, "5.3.5", "mail system configuration error");
  }

  void include(int fd, const std::string& path, const Identity& who, bool is_user, int nesting) {
    struct stat info{};
    if (::fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) return outcome(Status::bounced, "5.2.0", fmt::format("bad :include: {}: not a regular file", path));
    if (nesting >= kMaxNesting) return outcome(Status::bounced, "5.4.6", "too many nested :include: files");
    const std::optional<std::string> text = read_all(fd);
    if (!text) return put_off("4.3.0", "cannot read :include: file " + path);
    for (const Destination& one : parse_destination_file(*text)) destination(one, who, is_user, "include", nesting + 1);
  }

  static std::optional<std::string> read_all(int fd) {
    std::string out, piece(65536, '\0');
    for (;;) {
      const ssize_t n = ::read(fd, piece.data(), piece.size());
      if (n < 0 && errno == EINTR) continue;
      if (n < 0 || out.size() > kMaxList) return std::nullopt;
      if (n == 0) return out;
      out.append(piece, 0, static_cast<std::size_t>(n));
    }
  }

  // One value of an alias that is no address.  As root: the look-up, and opening a list that root owns.
  void alias() {
    map::TableOptions options;
    options.config_directory = config_.directory();
    map::TableSet tables(options);
    auto maps = AliasMaps::open(config_, params_, tables);
    if (!maps) return put_off("4.3.0", "alias database unavailable");
    const auto found = maps->find(fact(Tag::alias_name));
    if (!found) return put_off("4.3.0", "alias database unavailable");
    const auto index = parse_number<std::size_t>(fact(Tag::entry));
    const std::vector<Destination> list = *found ? parse_destinations((*found)->value) : std::vector<Destination>();
    if (!index || *index >= list.size() || list[*index].kind == Kind::address) return put_off("4.3.0", "alias database changed");
    const Destination& one = list[*index];
    // DELIVERY RIGHTS of local(8): the owner of the database, default_privs where that is root.
    std::optional<Identity> who;
    const uid_t owner = ::geteuid() == 0 ? (*found)->owner : ::geteuid();
    if (owner != 0) {
      if (const auto of_owner = find_identity(owner)) who = *of_owner;
    }
    if (one.kind != Kind::include || owner != 0) {
      if (!who) who = default_identity();
      if (who) as(*who, [&] { destination(one, *who, owner != 0, "alias", 0); return kDone; });
      return;
    }
    // A list named by root's own alias may be readable to root alone; it is read with its owner's rights.
    const File list_file(::open(one.text.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
    if (list_file.get() < 0 && errno == ELOOP) {
      // Whoever owns the directory made the link: it is not followed with more than default_privs.
      who = default_identity();
      if (who) as(*who, [&] { destination(one, *who, false, "alias", 0); return kDone; });
      return;
    }
    if (list_file.get() < 0) {
      return no_list(one.text);
    }
    struct stat info{};
    const bool trusted = ::fstat(list_file.get(), &info) == 0 && (info.st_mode & S_IWOTH) == 0;
    const auto list_owner = find_identity(info.st_uid);
    const bool of_user = trusted && info.st_uid != 0 && list_owner;
    who = of_user ? std::optional<Identity>(*list_owner) : default_identity();
    if (who) as(*who, [&] { include(list_file.get(), one.text, *who, of_user, 0); return kDone; });
  }

  void forward() {
    const std::optional<Identity> who = account();
    if (!who) return;
    // Root's is read as root, and what it names is done with default_privs.
    if (who->uid == 0 ? read_forward(*who) : as(*who, [&] { return read_forward(*who) ? kDone : kNothing; }) == kDone) return;
    say({Record::Kind::no_forward, Status::pending, {}, {}});
    if (fact(Tag::entry) == kThenMailbox) mailbox_of(*who);
  }

  // [as the user, or as root for root] False: there is none that counts.
  bool read_forward(const Identity& who) {
    for (const std::string_view raw : split(params_.forward_path, ", \t\r\n")) {
      bool by_extension = false;
      const auto path = expand(std::string(raw), who, params_.forward_expansion_filter, &by_extension);
      struct stat info{};
      if (!path || ::lstat(path->c_str(), &info) != 0) continue;
      if (fact(Tag::verify) == kVerifyProbe) {
        outcome(Status::sent, "2.0.0", "forward via file: " + *path);
        return true;
      }
      if (!S_ISREG(info.st_mode)) warn(fmt::format("file {} is not a regular file", *path));
      else if (info.st_uid != 0 && info.st_uid != who.uid) warn(fmt::format("file {} has bad owner uid {}", *path, info.st_uid));
      else if (info.st_mode & S_IWOTH) warn(fmt::format("file {} is world writable", *path));
      else return use_forward(*path, who, by_extension);
      return false;
    }
    return false;
  }

  bool use_forward(const std::string& path, const Identity& who, bool by_extension) {
    const File file(::open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK));
    const auto text = file.get() < 0 ? std::nullopt : read_all(file.get());
    if (!text) {
      warn(fmt::format("cannot open file {}: {}", path, std::strerror(errno)));
      return false;
    }
    const std::vector<Destination> list = parse_destination_file(*text);
    if (list.empty()) return false;
    say({Record::Kind::forward_file, Status::pending, by_extension ? kNamedByExtension : "", path});
    const auto follow = [&](const Identity& rights) {
      for (const Destination& one : list) destination(one, rights, who.uid != 0, "forward", 0);
    };
    if (who.uid != 0) {
      follow(who);
    } else if (const auto others = default_identity()) {
      as(*others, [&] { follow(*others); return kDone; });
    }
    return true;
  }

  void user_mailbox() {
    if (const std::optional<Identity> who = account()) mailbox_of(*who);
  }

  // biff = yes: tells comsat(8), if there is one, that there is new mail and where it begins.
  void tell_biff(const std::string& user, std::uint64_t offset) const {
    const servent* service = ::getservbyname("biff", "udp");
    const bool four = params_.inet_protocols.find("ipv4") != std::string::npos || params_.inet_protocols.find("all") != std::string::npos;
    const File socket(::socket(four ? AF_INET : AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (service == nullptr || socket.get() < 0) return;
    std::string text = fmt::format("{}@{}", user, offset);
    text += '\0';
    sockaddr_in v4{};
    v4.sin_family = AF_INET;
    v4.sin_port = static_cast<in_port_t>(service->s_port);
    v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    sockaddr_in6 v6{};
    v6.sin6_family = AF_INET6;
    v6.sin6_port = static_cast<in_port_t>(service->s_port);
    v6.sin6_addr = in6addr_loopback;
    (void)::sendto(socket.get(), text.data(), text.size(), 0,
                   four ? reinterpret_cast<const sockaddr*>(&v4) : reinterpret_cast<const sockaddr*>(&v6),
                   four ? sizeof v4 : sizeof v6);
  }

  void mailbox_of(Identity who) {
    const bool is_root = who.uid == 0;
    struct stat there{};
    if (params_.require_home_directory && ::stat(who.home.c_str(), &there) != 0) {
      return put_off("4.3.0", fmt::format("cannot access home directory {}: {}", who.home, std::strerror(errno)));
    }
    std::string wanted = params_.mailbox_command;
    if (!params_.mailbox_command_maps.empty()) {
      map::TableOptions options;
      options.config_directory = config_.directory();
      map::TableSet tables(options);
      auto maps = map::Maps::open(tables, params_.mailbox_command_maps);
      auto found = maps ? maps->find(fact(Tag::user)) : map::Lookup(tl::unexpected(maps.error()));
      if (!found) return put_off("4.3.0", "mailbox_command_maps lookup failure");
      if (*found) wanted = **found;
    }
    if (!wanted.empty()) {
      if (is_root) {
        const auto fallback = default_identity();
        if (!fallback) return;
        const std::string home = who.home, shell = who.shell, name = who.name;
        who = *fallback;
        who.home = home;
        who.shell = shell;
        who.name = name;
      }
      as(who, [&] { command(wanted, who, true, nullptr); return kDone; });
      return;
    }
    std::string path;
    if (!params_.home_mailbox.empty()) {
      path = who.home + "/" + params_.home_mailbox;
    } else {
      const std::string& spool = params_.mail_spool_directory;
      // A directory that its group may write to (Debian's /var/mail) is written to with that group.
      struct stat info{};
      if (!spool.ends_with('/') && ::stat(spool.c_str(), &info) == 0 && (info.st_mode & S_IWGRP) && !(info.st_mode & S_IWOTH) &&
          info.st_gid != 0 && ::geteuid() == 0) {
        who.gid = info.st_gid;
      }
      path = spool + (spool.ends_with('/') ? "" : "/") + fact(Tag::user) + (spool.ends_with('/') ? "/" : "");
    }
    const bool maildir = path.ends_with('/');
    if (verifying()) return deliverable(maildir ? "maildir" : "mailbox");
    as(who, [&] {
      auto rules = mailbox_rules(params_.mailbox_delivery_lock, params_.mailbox_size_limit, who.uid);
      if (!rules) return kDone;
      const Placed placed = maildir ? put_in_maildir(path, kMessage, copy_options("file"), *rules, params_.myhostname)
                                    : append_to_file(path, kMessage, copy_options("file"), *rules);
      if (placed.ok) outcome(Status::sent, "2.0.0", maildir ? "delivered to maildir" : "delivered to mailbox");
      else not_placed(placed, maildir ? "maildir delivery failed: " + placed.reason
                                      : fmt::format("cannot update mailbox {} for user {}. {}", path, fact(Tag::user), placed.reason));
      if (placed.ok && !maildir && params_.biff) tell_biff(who.name, placed.offset);
      return kDone;
    }, Root::as_owner);
  }

  void virtual_mailbox() {
    map::TableOptions options;
    options.config_directory = config_.directory();
    map::TableSet tables(options);
    const std::string address = lower(fact(Tag::recipient));
    const auto look_up = [&](const std::string& parameter) -> map::Lookup {
      std::string value;
      for (const std::string& word : map::split_list(parameter)) value += (istarts_with(word, "proxy:") ? word.substr(6) : word) + " ";
      const auto maps = map::Maps::open(tables, value);
      if (!maps) return tl::unexpected(maps.error());
      return maps->find_address(address, params_.recipient_delimiter, [](std::string_view) { return false; }, nullptr);
    };
    const auto unavailable = [&](const char* name, const Error& error) {
      warn(error.context);
      put_off("4.3.5", fmt::format("{} lookup error", name));
    };
    const auto path = look_up(params_.virtual_mailbox_maps);
    if (!path) return unavailable("virtual_mailbox_maps", path.error());
    if (!*path) return outcome(Status::bounced, "5.1.1", fmt::format("unknown user: \"{}\"", address));
    const auto uid_text = look_up(params_.virtual_uid_maps), gid_text = look_up(params_.virtual_gid_maps);
    if (!uid_text) return unavailable("virtual_uid_maps", uid_text.error());
    if (!gid_text) return unavailable("virtual_gid_maps", gid_text.error());
    if (!*uid_text || !*gid_text) {
      const char* name = *uid_text ? "virtual_gid_maps" : "virtual_uid_maps";
      warn(fmt::format("recipient {}: not found in {}", address, name));
      return put_off("4.3.5", "mail system configuration error");
    }
    const auto uid = parse_number<std::uint32_t>(**uid_text), gid = parse_number<std::uint32_t>(**gid_text);
    if (!uid || *uid < params_.virtual_minimum_uid || *uid == 0) {
      warn(fmt::format("recipient {}: bad uid {} in virtual_uid_maps", address, printable(**uid_text)));
      return put_off("4.3.5", "mail system configuration error");
    }
    if (!gid || *gid == 0) {
      warn(fmt::format("recipient {}: bad gid {} in virtual_gid_maps", address, printable(**gid_text)));
      return put_off("4.3.5", "mail system configuration error");
    }
    Identity who;
    who.uid = *uid;
    who.gid = *gid;
    who.name = fmt::format("uid {}", *uid);
    const std::string& base = params_.virtual_mailbox_base;
    const std::string place = base.empty() ? **path : base + (base.ends_with('/') ? "" : "/") + **path;
    const bool maildir = place.ends_with('/');
    if (verifying()) return deliverable(maildir ? "maildir" : "mailbox");
    as(who, [&] {
      auto rules = mailbox_rules(params_.virtual_mailbox_lock, params_.virtual_mailbox_limit, who.uid);
      if (!rules) return kDone;
      const Placed placed = maildir ? put_in_maildir(place, kMessage, copy_options(nullptr), *rules, params_.myhostname)
                                    : append_to_file(place, kMessage, copy_options(nullptr), *rules);
      if (placed.ok) outcome(Status::sent, "2.0.0", maildir ? "delivered to maildir" : "delivered to mailbox");
      else not_placed(placed, maildir ? "maildir delivery failed: " + placed.reason : "mailbox " + place + ": " + placed.reason);
      return kDone;
    });
  }

  const config::Config& config_;
  const config::Service& service_;
  const Request& request_;
  const config::Params params_;
};

}  // namespace

void run_delivery(const config::Config& config, const config::Service& service, const Request& request) {
  Task(config, service, request).run();
  Task::say({Record::Kind::end, Status::pending, {}, {}});
  ::_exit(0);
}

}  // namespace millrace::local
