#include "core/tools/sendmail_options.h"

#include <fmt/format.h>

#include "core/base/strings.h"

namespace millrace::tools {
namespace {

using Mode = SendmailRequest::Mode;

constexpr std::string_view kWithValue = "ABCFLNORVXbefhoprq";
constexpr std::string_view kAlone = "GIUcimntvx";
constexpr std::size_t kMaxEnvid = 100;

class Parser {
 public:
  explicit Parser(const std::vector<std::string>& arguments) : arguments_(arguments) {}

  SendmailRequest run() {
    bool options = true;
    while (next_ < arguments_.size() && out_.problem.empty()) {
      const std::string& word = arguments_[next_++];
      if (options && word == "--") {
        options = false;
      } else if (options && word == "-q") {
        // Needs no value, unlike any other form of it.
        set_mode(Mode::flush);
      } else if (options && word == "-XV") {
        out_.verp = true;
      } else if (options && word == "-V" && next_ < arguments_.size() && arguments_[next_].size() == 2) {
        // Postfix before 2.3 had VERP here; as Postfix does, the two characters are left where recipients stand.
        out_.warnings.emplace_back("option -V is deprecated with Postfix 2.3; specify -XV instead");
        out_.verp = true;
      } else if (options && word.size() == 4 && word.starts_with("-V")) {
        out_.warnings.push_back(fmt::format("option {} is deprecated with Postfix 2.3; specify -X{} instead", word, word.substr(1)));
        verp(word.substr(2));
      } else if (options && word.size() > 1 && word[0] == '-') {
        letters(word);
      } else {
        // As getopt(3) does it for sendmail: the first operand ends the options.
        options = false;
        out_.recipients.push_back(word);
      }
    }
    if (out_.problem.empty()) conflicts();
    return std::move(out_);
  }

 private:
  // What does not go together, as sendmail(1) has it.
  void conflicts() {
    const bool submits = out_.mode == Mode::submit || out_.mode == Mode::verify;
    if (out_.extract && !submits && out_.mode != Mode::flush_site && out_.mode != Mode::flush_message && out_.mode != Mode::nothing) {
      out_.problem = "-t can be used only in delivery mode";
    }
    if (out_.mode == Mode::verify) {
      const std::pair<bool, const char*> options[] = {
          {out_.extract, "-t"}, {out_.notify != 0, "-N"}, {out_.ret != mime::Ret::unset, "-R"}, {verbose_ == 1, "-v"}};
      for (const auto& [given, name] : options) {
        if (given && out_.problem.empty()) out_.problem = fmt::format("{} option cannot be used with -bv", name);
      }
    }
    // Twice is a wish for more words in the log, not for a report.
    out_.record = verbose_ == 1;
    if (out_.recipients.empty() || !out_.problem.empty()) return;
    const char* what = nullptr;
    switch (out_.mode) {
      case Mode::flush_site: what = "flush site"; break;
      case Mode::flush_message: what = "flush queue_id"; break;
      case Mode::list_queue: what = "display queue mode"; break;
      case Mode::flush: what = "flush queue mode"; break;
      case Mode::daemon: what = "daemon mode"; break;
      case Mode::new_aliases: what = "alias initialization mode"; break;
      case Mode::smtp: what = "stand-alone mode"; break;
      case Mode::submit:
      case Mode::verify:
      case Mode::nothing: break;
    }
    if (what != nullptr) out_.problem = fmt::format("{} requires no recipient", what);
  }

  void verp(std::string_view delimiters) {
    out_.verp = true;
    out_.verp_delimiters = delimiters;
  }

  void letters(const std::string& word) {
    for (std::size_t i = 1; i < word.size() && out_.problem.empty(); ++i) {
      const char letter = word[i];
      if (kAlone.find(letter) != kAlone.npos) {
        alone(letter);
        continue;
      }
      if (kWithValue.find(letter) == kWithValue.npos) {
        out_.problem = fmt::format("invalid option -- '{}'", letter);
        return;
      }
      if (i + 1 < word.size()) return with_value(letter, word.substr(i + 1));
      if (next_ == arguments_.size()) {
        out_.problem = fmt::format("option requires an argument -- '{}'", letter);
        return;
      }
      return with_value(letter, arguments_[next_++]);
    }
  }

  void alone(char letter) {
    switch (letter) {
      case 'G': out_.gateway = true; break;
      case 'I': set_mode(Mode::new_aliases); break;
      case 'i': out_.dot_ends = false; break;
      case 'n': out_.problem = "-n option not supported"; break;
      case 't': out_.extract = true; break;
      case 'v': ++verbose_; break;
      default: break;   // -U -c -m -x mean nothing here, as in Postfix
    }
  }

  void with_value(char letter, const std::string& value) {
    switch (letter) {
      case 'B':
        if (iequals(value, "7BIT")) out_.body = mime::BodyType::seven_bit;
        else if (iequals(value, "8BITMIME")) out_.body = mime::BodyType::eight_bit;
        else out_.problem = "-B option needs 8BITMIME or 7BIT";
        break;
      case 'C': {
        std::string directory = value;
        if (directory.ends_with("/main.cf")) directory.resize(directory.size() - 8);
        while (directory.size() > 1 && directory.back() == '/') directory.pop_back();
        out_.config_directory = directory;
        break;
      }
      case 'F':
        out_.full_name = value;
        out_.full_name_given = true;
        break;
      case 'N': notify(value); break;
      case 'R':
        if (iequals(value, "full")) out_.ret = mime::Ret::full;
        else if (iequals(value, "hdrs")) out_.ret = mime::Ret::headers;
        else out_.warnings.emplace_back("bad -R option value -- ignored");
        break;
      case 'V':
        if (value.size() > kMaxEnvid) out_.warnings.emplace_back("too long -V option value -- ignored");
        else if (printable(value) != value || !is_ascii(value)) out_.warnings.emplace_back("bad syntax in -V option value -- ignored");
        else out_.envid = value;
        break;
      case 'X':
        if (value.starts_with('V')) verp(std::string_view(value).substr(1));
        else out_.problem = fmt::format("unsupported: -X{}", value.substr(0, 1));
        break;
      case 'b': mode(value); break;
      case 'f':
      case 'r':
        out_.sender = value;
        out_.sender_given = true;
        break;
      case 'o': old_option(value); break;
      case 'q': queue(value); break;
      default: break;   // -A -L -O -e -h -p: ignored, as in Postfix
    }
  }

  void set_mode(Mode mode) {
    if (out_.mode != Mode::daemon) out_.mode = mode;   // "-bd -q15m"
  }

  void mode(const std::string& value) {
    if (out_.mode == Mode::flush_site || out_.mode == Mode::flush_message) {
      out_.problem = fmt::format("-q{} can be used only in delivery mode", out_.mode == Mode::flush_site ? 'R' : 'I');
      return;
    }
    switch (value.empty() ? '\0' : value[0]) {
      case 'd':
      case 'l': out_.mode = Mode::daemon; break;
      case 'h':
      case 'H': out_.mode = Mode::nothing; break;
      case 'i': out_.mode = Mode::new_aliases; break;
      case 'm': out_.mode = Mode::submit; break;
      case 'p': out_.mode = Mode::list_queue; break;
      case 's': out_.mode = Mode::smtp; break;
      case 'v': out_.mode = Mode::verify; break;
      default: out_.problem = fmt::format("unsupported: -b{}", value.substr(0, 1));
    }
  }

  void notify(const std::string& value) {
    unsigned bits = 0;
    bool good = true;
    for (const std::string_view word : split(value, ", \t")) {
      if (iequals(word, "never")) bits |= mime::kNotifyNever;
      else if (iequals(word, "success")) bits |= mime::kNotifySuccess;
      else if (iequals(word, "failure")) bits |= mime::kNotifyFailure;
      else if (iequals(word, "delay")) bits |= mime::kNotifyDelay;
      else {
        out_.warnings.push_back(fmt::format("unknown DSN NOTIFY command value \"{}\" in \"{}\"", word, value));
        good = false;
      }
    }
    if (!good || bits == 0 || ((bits & mime::kNotifyNever) != 0 && bits != mime::kNotifyNever)) {
      out_.warnings.emplace_back("bad -N option value -- ignored");
    } else {
      out_.notify = bits;
    }
  }

  void old_option(const std::string& value) {
    if (value.starts_with('A')) {
      if (value.size() == 1) out_.problem = "-oA requires pathname";
      else out_.alias_database = value.substr(1);
    } else if (value.starts_with('i')) {
      out_.dot_ends = false;
    }
  }

  void queue(const std::string& value) {
    if (value.empty()) return set_mode(Mode::flush);
    if (is_digit(value[0])) {
      if (out_.mode == Mode::submit) out_.mode = Mode::nothing;   // "-q15m": the interval is the daemon's business
      return;
    }
    if (value[0] == 'S') {
      out_.problem = "-qS is not implemented";
    } else if (value[0] == 'R' || value[0] == 'I') {
      out_.site = value.substr(1);
      if (out_.site.empty()) out_.problem = fmt::format("specify: -q{}{}", value[0], value[0] == 'R' ? "sitename" : "queueid");
      if (out_.mode != Mode::submit && out_.problem.empty()) out_.problem = fmt::format("-q{} can be used only in delivery mode", value[0]);
      set_mode(value[0] == 'R' ? Mode::flush_site : Mode::flush_message);
    } else {
      out_.problem = fmt::format("-q{} is not implemented", value[0]);
    }
  }

  const std::vector<std::string>& arguments_;
  std::size_t next_ = 0;
  int verbose_ = 0;
  SendmailRequest out_;
};

}  // namespace

SendmailRequest parse_sendmail(const std::vector<std::string>& arguments) {
  return Parser(arguments).run();
}

}  // namespace millrace::tools
