// See command.h.
#include "core/smtp/command.h"

#include <algorithm>
#include <limits>

#include "core/base/strings.h"
#include "core/mime/verp.h"

namespace millrace::smtp {
namespace {

// Takes the rest of "<…>" or "…" after its first character, with quotes inside brackets; false when the
// end is missing.
bool take_quoted(std::string_view line, std::size_t& at, char last, std::string& out) {
  bool in_quote = last == '"';
  const bool bracket = last == '>';
  while (at < line.size()) {
    const char c = line[at++];
    out += c;
    if (c == '\\') {
      if (at == line.size()) return false;
      out += line[at++];
    } else if (c == '"' && bracket) {
      in_quote = !in_quote;
    } else if (c == last && (!bracket || !in_quote)) {
      return true;
    }
  }
  return false;
}

bool is_printable(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c >= ' ' && c < 0x7F; });
}

bool all_digits(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), is_digit);
}

ParameterError unsupported(std::string_view word) {
  return {555, "5.5.4", "Unsupported option: " + std::string(word)};
}

// RFC 3461 section 4.1; 0 when malformed.
unsigned parse_notify(std::string_view value) {
  unsigned bits = 0;
  for (;;) {
    const std::size_t comma = value.find(',');
    const std::string_view word = value.substr(0, comma);
    if (iequals(word, "NEVER")) {
      bits |= mime::kNotifyNever;
    } else if (iequals(word, "SUCCESS")) {
      bits |= mime::kNotifySuccess;
    } else if (iequals(word, "FAILURE")) {
      bits |= mime::kNotifyFailure;
    } else if (iequals(word, "DELAY")) {
      bits |= mime::kNotifyDelay;
    } else {
      return 0;
    }
    if (comma == value.npos) break;
    value.remove_prefix(comma + 1);
  }
  return (bits & mime::kNotifyNever) && bits != mime::kNotifyNever ? 0 : bits;
}

}  // namespace

std::vector<Word> split_words(std::string_view line) {
  std::vector<Word> words;
  std::size_t at = 0;
  while (at < line.size()) {
    Word word;
    const bool whole_rest = words.size() + 1 == kMaxWords;
    while (at < line.size()) {
      const char c = line[at++];
      if (is_space(c) && !whole_rest) {
        if (!word.text.empty()) break;
        continue;
      }
      word.text += c;
      if (c == '<' || c == '"') {
        if (!take_quoted(line, at, c == '<' ? '>' : '"', word.text)) word.unclosed = true;
      } else if (c == ':') {
        if (iequals(word.text, "to:") || iequals(word.text, "from:")) break;
      } else if (c == '\\' && at < line.size()) {
        word.text += line[at++];
      }
    }
    if (!word.text.empty()) words.push_back(std::move(word));
  }
  return words;
}

std::optional<std::string> decode_xtext(std::string_view text) {
  const auto hex = [](char c) { return is_digit(c) ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1; };
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '+') {
      out += text[i];
      continue;
    }
    if (i + 2 >= text.size() || hex(text[i + 1]) < 0 || hex(text[i + 2]) < 0) return {};
    out += static_cast<char>(hex(text[i + 1]) * 16 + hex(text[i + 2]));
    i += 2;
  }
  return out;
}

std::string encode_xtext(std::string_view text) {
  static constexpr char kHex[] = "0123456789ABCDEF";
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte > ' ' && byte < 0x7F && c != '+' && c != '=') {
      out += c;
    } else {
      out.append(1, '+').append(1, kHex[byte >> 4]).append(1, kHex[byte & 15]);
    }
  }
  return out;
}

std::optional<ParameterError> parse_mail_parameters(const std::vector<Word>& words, std::size_t first,
                                                    const Extensions& extensions, MailParameters& out) {
  const ParameterError no_dsn{501, "5.7.1", "DSN support is disabled"};
  for (std::size_t i = first; i < words.size(); ++i) {
    const std::string_view word = words[i].text;
    if (iequals(word, "BODY=8BITMIME")) {
      out.body = mime::BodyType::eight_bit;
    } else if (iequals(word, "BODY=7BIT")) {
      out.body = mime::BodyType::seven_bit;
    } else if (istarts_with(word, "SIZE=")) {
      if (!all_digits(word.substr(5))) return ParameterError{501, "5.5.4", "Bad message size syntax"};
      const std::optional<std::int64_t> size = parse_number<std::int64_t>(word.substr(5));
      if (!size) return ParameterError{552, "5.3.4", "Message size exceeds file system imposed limit"};
      out.size = static_cast<std::uint64_t>(*size);
    } else if (istarts_with(word, "AUTH=")) {
      // RFC 4954 section 5: without authentication the value is not trusted, and nothing keeps it.
    } else if (extensions.smtputf8 && iequals(word, "SMTPUTF8")) {
      out.smtputf8 = true;
    } else if (extensions.verp && (iequals(word, "XVERP") || istarts_with(word, "XVERP="))) {
      out.verp = word.size() == 5 ? extensions.verp_default : word.substr(6);
      if (!mime::verp_problem(out.verp, extensions.verp_allowed).empty()) {
        return ParameterError{501, "5.5.4", "Error: XVERP needs two characters from " + std::string(extensions.verp_allowed)};
      }
    } else if (istarts_with(word, "RET=")) {
      if (!extensions.dsn) return no_dsn;
      const std::string_view value = word.substr(4);
      if (out.ret != mime::Ret::unset || (!iequals(value, "FULL") && !iequals(value, "HDRS"))) {
        return ParameterError{501, "5.5.4", "Bad RET parameter syntax"};
      }
      out.ret = iequals(value, "FULL") ? mime::Ret::full : mime::Ret::headers;
    } else if (istarts_with(word, "ENVID=")) {
      if (!extensions.dsn) return no_dsn;
      const std::optional<std::string> plain = decode_xtext(word.substr(6));
      if (!out.envid.empty() || !plain || plain->empty() || !is_printable(*plain)) {
        return ParameterError{501, "5.5.4", "Bad ENVID parameter syntax"};
      }
      out.envid = word.substr(6);
    } else {
      return unsupported(word);
    }
  }
  return {};
}

std::optional<ParameterError> parse_rcpt_parameters(const std::vector<Word>& words, std::size_t first,
                                                    const Extensions& extensions, RcptParameters& out) {
  const ParameterError no_dsn{501, "5.7.1", "DSN support is disabled"};
  for (std::size_t i = first; i < words.size(); ++i) {
    const std::string_view word = words[i].text;
    if (istarts_with(word, "NOTIFY=")) {
      if (!extensions.dsn) return no_dsn;
      const bool again = out.notify != 0;
      out.notify = parse_notify(word.substr(7));
      if (again || out.notify == 0) return ParameterError{501, "5.5.4", "Error: Bad NOTIFY parameter syntax"};
    } else if (istarts_with(word, "ORCPT=")) {
      if (!extensions.dsn) return no_dsn;
      const std::string_view value = word.substr(6);
      const std::size_t semicolon = value.find(';');
      const std::optional<std::string> plain =
          semicolon == value.npos || semicolon == 0 ? std::nullopt : decode_xtext(value.substr(semicolon + 1));
      if (!out.orcpt.empty() || !plain || plain->find('\0') != plain->npos) {
        return ParameterError{501, "5.5.4", "Error: Bad ORCPT parameter syntax"};
      }
      out.orcpt = value;
    } else {
      return unsupported(word);
    }
  }
  return {};
}

std::optional<Chunk> parse_chunk(const std::vector<Word>& words) {
  if (words.size() < 2 || words.size() > 3 || !all_digits(words[1].text)) return {};
  const std::optional<std::int64_t> size = parse_number<std::int64_t>(words[1].text);
  if (!size || (words.size() == 3 && !iequals(words[2].text, "LAST"))) return {};
  return Chunk{static_cast<std::uint64_t>(*size), words.size() == 3};
}

}  // namespace millrace::smtp
