#include "core/local/command_spec.h"

#include <utility>

#include "core/base/strings.h"

namespace millrace::local {
namespace {

constexpr std::pair<char, PipeFlag> kFlags[] = {
    {'B', kBlankLine}, {'D', kDeliveredTo}, {'F', kFromLine},  {'O', kOriginalTo}, {'R', kReturnPath}, {'X', kFinal},
    {'h', kFoldHost},  {'q', kQuoteLocal},  {'u', kFoldUser},  {'.', kDotStuff},   {'>', kQuoteFrom},
};

Result<unsigned> parse_flags(std::string_view text) {
  unsigned out = 0;
  for (const char c : text) {
    unsigned bit = 0;
    for (const auto& [letter, flag] : kFlags) {
      if (letter == c) bit = flag;
    }
    if (bit == 0) return fail(Errc::config, std::string("unknown flag: ") + c + " (ignoring)");
    out |= bit;
  }
  return out;
}

}  // namespace

std::string unescape(std::string_view text) {
  constexpr std::string_view kLetters = "abfnrtv\\", kBytes = "\a\b\f\n\r\t\v\\";
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\\' || i + 1 == text.size()) {
      out += text[i];
      continue;
    }
    const std::size_t letter = kLetters.find(text[++i]);
    if (letter != kLetters.npos) {
      out += kBytes[letter];
      continue;
    }
    unsigned value = 0, digits = 0;
    for (; digits < 3 && i + digits < text.size() && text[i + digits] >= '0' && text[i + digits] <= '7'; ++digits) {
      value = value * 8 + static_cast<unsigned>(text[i + digits] - '0');
    }
    out += digits == 0 ? text[i] : static_cast<char>(value);
    if (digits > 0) i += digits - 1;
  }
  return out;
}

Result<CommandSpec> parse_command_spec(const std::vector<std::string>& arguments, SpecKind kind) {
  CommandSpec out;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const std::string& word = arguments[i];
    const std::size_t equals = word.find('=');
    const std::string name = word.substr(0, equals), value = equals == word.npos ? "" : word.substr(equals + 1);
    if (equals == word.npos) return fail(Errc::config, "unknown attribute: " + word);
    if (name == "argv") {
      // The rest of the line is the command.
      if (!value.empty()) out.argv.push_back(value);
      out.argv.insert(out.argv.end(), arguments.begin() + static_cast<std::ptrdiff_t>(i) + 1, arguments.end());
      break;
    }
    if (name == "user") {
      const std::size_t colon = value.find(':');
      out.user = value.substr(0, colon);
      if (colon != value.npos) out.group = value.substr(colon + 1);
      if (out.user.empty() || (colon != value.npos && out.group.empty())) return fail(Errc::config, "bad value: " + word);
    } else if (kind == SpecKind::spawn) {
      return fail(Errc::config, "unknown attribute: " + word);
    } else if (name == "flags") {
      const auto flags = parse_flags(value);
      if (!flags) return tl::unexpected(flags.error());
      out.flags = *flags;
    } else if (name == "chroot") {
      out.chroot = value;
    } else if (name == "directory") {
      out.directory = value;
    } else if (name == "eol") {
      out.eol = unescape(value);
    } else if (name == "null_sender") {
      out.null_sender = value;
    } else if (name == "size") {
      const auto size = parse_number(value);
      if (!size) return fail(Errc::config, "bad value: " + word);
      out.size_limit = *size;
    } else {
      return fail(Errc::config, "unknown attribute: " + word);
    }
  }
  if (out.user.empty()) return fail(Errc::config, "missing user= attribute");
  if (out.argv.empty()) return fail(Errc::config, "missing argv= attribute");
  return out;
}

}  // namespace millrace::local
