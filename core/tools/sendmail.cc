#include "core/tools/sendmail.h"

#include <fmt/format.h>
#include <pwd.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "core/base/strings.h"
#include "core/config/config.h"
#include "core/map/table.h"
#include "core/mime/builder.h"
#include "core/mime/verp.h"
#include "core/rewrite/address_list.h"
#include "core/smtp/command.h"
#include "core/submit/users.h"
#include "core/tools/alias_tool.h"
#include "core/tools/drop.h"
#include "core/tools/queue_tools.h"
#include "core/tools/sendmail_options.h"

namespace millrace::tools {
namespace {

constexpr int kFailed = 75;   // whatever went wrong, as Postfix's: mail programs try again
constexpr std::size_t kMaxTokens = 1000000;
constexpr std::size_t kMaxHeaders = 2 << 20;   // of the header section with -t

int fatal(const std::string& text) {
  std::fflush(stdout);
  fmt::print(stderr, "sendmail: fatal: {}\n", text);
  return kFailed;
}

struct User {
  long uid;
  std::string name, full_name;
};

User find_user() {
  User user{static_cast<long>(::getuid()), "unknown", {}};
  if (const passwd* entry = ::getpwuid(::getuid())) {
    user.name = entry->pw_name;
    std::string_view gecos = entry->pw_gecos != nullptr ? entry->pw_gecos : "";
    gecos = gecos.substr(0, gecos.find(','));
    for (const char c : gecos) {
      // "&" stands for the login name, its first letter in upper case (finger(1)).
      if (c != '&') user.full_name += c;
      else if (!user.name.empty()) user.full_name += to_upper(user.name[0]) + user.name.substr(1);
    }
  }
  return user;
}

// "Name <a@b>, c" as addresses in internal form.
std::vector<std::string> addresses_in(std::string_view text) {
  std::vector<std::string> out;
  for (const rewrite::Tokens& tokens : rewrite::find_addresses(text, kMaxTokens)) out.push_back(rewrite::internal_text(tokens));
  return out;
}

// Reads lines of any length in pieces, without their line end.
class Input {
 public:
  explicit Input(std::size_t limit) : limit_(limit) {}
  // False at the end.  `ends`: the line ends here.
  bool next(std::string& piece, bool& ends) {
    piece.clear();
    for (int c; (c = ::getc_unlocked(stdin)) != EOF;) {
      if (c == '\n') {
        ends = true;
        return true;
      }
      piece += static_cast<char>(c);
      if (piece.size() >= limit_) {
        ends = false;
        return true;
      }
    }
    ends = true;
    return !piece.empty();
  }
  static bool failed() { return std::ferror(stdin) != 0; }

 private:
  std::size_t limit_;
};

// The recipients that -t finds: those of Resent- fields when there are any.
class Extraction {
 public:
  void line(std::string_view text, bool continues) {
    if (done_) return;
    if (!continues && (text.empty() || (!is_space(text[0]) && mime::header_name_length(text) == 0))) {
      done_ = true;
      take();
      return;
    }
    if (!continues && !is_space(text[0])) take();
    if ((size_ += text.size()) > kMaxHeaders) return;
    if (!continues && !field_.empty()) field_ += "\n";
    field_.append(text);
  }
  std::vector<std::string> finish() {
    if (!std::exchange(done_, true)) take();
    return resent_ ? std::move(resent_recipients_) : std::move(recipients_);
  }

 private:
  void take() {
    const std::string field = std::exchange(field_, {});
    const std::size_t length = mime::header_name_length(field);
    if (length == 0) return;
    const std::string_view name = std::string_view(field).substr(0, length);
    const std::string_view value = std::string_view(field).substr(field.find(':', length) + 1);
    const bool resent = istarts_with(name, "Resent-");
    resent_ = resent_ || resent;
    for (const char* wanted : {"To", "Cc", "Bcc", "Resent-To", "Resent-Cc", "Resent-Bcc"}) {
      if (!iequals(name, wanted)) continue;
      for (std::string& address : addresses_in(value)) (resent ? resent_recipients_ : recipients_).push_back(std::move(address));
    }
  }
  std::string field_;
  std::vector<std::string> recipients_, resent_recipients_;
  std::size_t size_ = 0;
  bool resent_ = false, done_ = false;
};

// "From me Sat …": lines of a mailbox's envelope at the top of the message.
bool is_mailbox_line(std::string_view line) {
  if (line.starts_with('>')) line.remove_prefix(1);
  while (!line.empty() && (line[0] == ' ' || line[0] == '\t')) line.remove_prefix(1);
  return line.starts_with("From ");
}

int submit(const SendmailRequest& request, const config::Config& config, const std::string& config_directory) {
  const User user = find_user();
  const auto refuse = [&](const std::string& text) { return fatal(fmt::format("{}({}): {}", user.name, user.uid, text)); };
  map::TableSet tables({config_directory, [](const std::string&) {}});
  // A courtesy: the rule is kept by postdrop and pickup.  Tables this user cannot read are left to them.
  const auto users = submit::UserList::make(tables, config.value("authorized_submit_users").value_or(""));
  const std::string outsider = users ? users->outsider(::getuid()).value_or("") : "";
  if (!outsider.empty()) return fatal(fmt::format("User {} is not allowed to submit mail", outsider));
  submit::Submission submission;
  submission.sender = user.name;
  if (request.sender_given) {
    const auto parsed = addresses_in(request.sender);
    submission.sender = parsed.empty() ? std::string() : parsed.front();
  }
  const char* name = std::getenv("NAME");
  submission.full_name = request.full_name_given ? request.full_name : name != nullptr ? name : user.full_name;
  submission.full_name = printable(submission.full_name.substr(0, 200));
  submission.gateway = request.gateway;
  submission.body = request.body;
  submission.ret = request.ret;
  if (request.verp) {
    const std::string& allowed = config.params().verp_delimiter_filter;
    submission.verp = request.verp_delimiters.value_or(config.params().default_verp_delimiters);
    if (!mime::verp_problem(submission.verp, allowed).empty()) return fatal("-V requires two characters from " + allowed);
    if (submission.sender.empty()) return refuse("-V option requires non-null sender address");
  }
  if (!request.envid.empty()) submission.envid = smtp::encode_xtext(request.envid);
  if (request.mode == SendmailRequest::Mode::verify) submission.trace = mime::Trace::verify;
  else if (request.record) submission.trace = mime::Trace::record;
  const auto add = [&](std::vector<mime::Recipient>& list, std::string address) {
    mime::Recipient recipient;
    recipient.address = std::move(address);
    recipient.notify = request.notify;
    list.push_back(std::move(recipient));
  };
  for (const std::string& operand : request.recipients) {
    if (operand.empty()) add(submission.recipients, "MAILER-DAEMON");
    for (std::string& address : addresses_in(operand)) add(submission.recipients, std::move(address));
  }
  if (submission.recipients.empty() && !request.extract) {
    return refuse("Recipient addresses must be specified on the command line or via the -t option");
  }
  auto drop = Drop::start(config_directory);
  if (!drop) return refuse(drop.error().context);
  drop->envelope(submission);
  drop->begin_content();
  Extraction extraction;
  Input input(static_cast<std::size_t>(config.params().line_length_limit));
  std::string piece;
  bool ends = true, continues = false, at_top = true;
  while (input.next(piece, ends)) {
    if (ends && piece.ends_with('\r')) piece.pop_back();
    if (at_top && !continues && ends && is_mailbox_line(piece)) continue;
    at_top = false;
    if (request.dot_ends && !continues && ends && piece == ".") break;
    if (request.extract) extraction.line(piece, continues);
    drop->line(piece, ends);
    continues = !ends;
  }
  if (Input::failed()) return refuse("error reading input");
  drop->end_content();
  if (request.extract) {
    std::vector<mime::Recipient> found;
    for (std::string& address : extraction.finish()) add(found, std::move(address));
    if (found.empty() && submission.recipients.empty()) return refuse("No recipient addresses found in message header");
    for (const mime::Recipient& recipient : found) drop->recipient(recipient);
  }
  const auto dropped = drop->finish();
  if (!dropped) return refuse(dropped.error().context);
  if (submission.trace != mime::Trace::none) {
    fmt::print("Mail Delivery Status Report will be mailed to <{}>.\n", submission.sender);
  }
  return std::fflush(stdout) == 0 ? 0 : kFailed;
}

int run_tool(int (*tool)(int, char**, const std::string&), std::vector<std::string> words, const std::string& directory) {
  std::vector<char*> pointers;
  for (std::string& word : words) pointers.push_back(word.data());
  const int count = static_cast<int>(pointers.size());
  pointers.push_back(nullptr);
  return tool(count, pointers.data(), directory);
}

}  // namespace

int sendmail_main(int argc, char** argv, const std::string& config_directory) {
  const SendmailRequest request = parse_sendmail(std::vector<std::string>(argv + 1, argv + argc));
  for (const std::string& text : request.warnings) fmt::print(stderr, "sendmail: warning: {}\n", text);
  if (!request.problem.empty()) {
    if (!request.problem.starts_with("invalid option") && !request.problem.starts_with("option requires")) {
      return fatal(request.problem);
    }
    fmt::print(stderr, "sendmail: {}\n", request.problem);
    return fatal("usage: sendmail [options]");
  }
  const std::string& directory = request.config_directory.empty() ? config_directory : request.config_directory;
  using Mode = SendmailRequest::Mode;
  switch (request.mode) {
    case Mode::nothing: return 0;
    case Mode::daemon: return fatal("-bd: the mail system is started with \"millrace start\"");
    case Mode::list_queue: return run_tool(queue_main, {"postqueue", "-p"}, directory);
    case Mode::flush: return run_tool(queue_main, {"postqueue", "-f"}, directory);
    case Mode::flush_message: return run_tool(queue_main, {"postqueue", "-i", request.site}, directory);
    case Mode::flush_site: return run_tool(queue_main, {"postqueue", "-s", request.site}, directory);
    case Mode::smtp: return sendmail_smtp(directory);
    case Mode::new_aliases: return new_aliases(request.alias_database, directory);
    case Mode::submit:
    case Mode::verify: break;
  }
  config::Findings findings;   // a mistake elsewhere in main.cf does not keep mail from being dropped
  const auto config = config::Config::load(directory, findings);
  for (const auto& line : findings.lines) {
    if (line.is_error && line.where.line == 0 && line.where.file.ends_with("/main.cf")) return fatal(line.to_text());
  }
  return submit(request, *config, directory);
}

}  // namespace millrace::tools
