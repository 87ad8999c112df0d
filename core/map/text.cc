#include "core/map/text.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "core/base/strings.h"
#include "core/map/table.h"

namespace millrace::map {

std::string_view LineReader::physical() {
  const std::size_t end = text_.find('\n');
  std::string_view line = text_.substr(0, end);
  text_.remove_prefix(end == std::string_view::npos ? text_.size() : end + 1);
  ++count_;
  return line.substr(0, line.find('\0'));
}

bool LineReader::next() {
  line_.clear();
  while (!text_.empty()) {
    if (!line_.empty() && !is_space(text_[0]) && text_[0] != '#') return true;
    const std::string_view piece = physical();
    const std::string_view bare = trim(piece);
    if (bare.empty() || bare[0] == '#') continue;
    if (line_.empty()) first_ = count_;
    line_ += piece;
  }
  return !line_.empty();
}

Result<KeyValue> split_key_value(std::string_view line) {
  bool in_quotes = false;
  std::size_t end = 0;
  for (; end < line.size(); ++end) {
    const char c = line[end];
    if (c == '\\') {
      if (++end == line.size()) break;
    } else if (c == '"') {
      in_quotes = !in_quotes;
    } else if (is_space(c) && !in_quotes) {
      break;
    }
  }
  if (in_quotes) return fail(Errc::protocol, "unbalanced '\"' in '" + printable(line) + "' -- ignoring this line");
  KeyValue out;
  out.key = line.substr(0, end);
  out.value = trim(line.substr(std::min(end, line.size())));
  if (out.key.empty() || out.value.empty())
    return fail(Errc::protocol, "expected format: key whitespace value -- ignoring this line");
  out.looks_like_alias = out.key.back() == ':';
  return out;
}

namespace {
// Length of the balanced group at the start of `text`, which begins with '{'; 0 when it never closes.
std::size_t group_length(std::string_view text) {
  int depth = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '{') ++depth;
    if (text[i] == '}' && --depth == 0) return i + 1;
  }
  return 0;
}
}  // namespace

Result<std::string_view> strip_braces(std::string_view text) {
  text = trim(text);
  if (text.empty() || text[0] != '{')
    return fail(Errc::config, "no '{' at start of text in \"" + printable(text) + "\"");
  const std::size_t length = group_length(text);
  if (length == 0) return fail(Errc::config, "missing '}' in \"" + printable(text) + "\"");
  if (length != text.size())
    return fail(Errc::config, "syntax error after '}' in \"" + printable(text) + "\"");
  return trim(text.substr(1, length - 2));
}

std::vector<std::string> split_list(std::string_view text) {
  std::vector<std::string> out;
  std::size_t begin = 0;
  while (begin < text.size()) {
    if (is_space(text[begin]) || text[begin] == ',') {
      ++begin;
      continue;
    }
    int depth = 0;
    std::size_t end = begin;
    for (; end < text.size(); ++end) {
      if (text[end] == '{') ++depth;
      if (text[end] == '}' && depth > 0) --depth;
      if (depth == 0 && (is_space(text[end]) || text[end] == ',')) break;
    }
    out.emplace_back(text.substr(begin, end - begin));
    begin = end;
  }
  return out;
}

Result<std::vector<std::string>> inline_rules(std::string_view text) {
  const auto inner = strip_braces(text);
  if (!inner) return tl::unexpected(inner.error());
  std::vector<std::string> out;
  for (const std::string& item : split_list(*inner)) {
    const auto rule = strip_braces(item);
    if (!rule) return tl::unexpected(rule.error());
    out.emplace_back(*rule);
  }
  return out;
}

std::string quote_address(std::string_view address) {
  const std::size_t at = address.rfind('@');
  const std::string_view local = address.substr(0, at);
  const std::string_view domain = at == std::string_view::npos ? "" : address.substr(at);
  bool plain = !local.empty() && local.front() != '.' && local.back() != '.';
  for (std::size_t i = 0; plain && i < local.size(); ++i) {
    const unsigned char c = static_cast<unsigned char>(local[i]);
    plain = c > 32 && c != 127 && std::strchr("()<>@,;:\\\"[]", c) == nullptr &&
            !(c == '.' && local[i - 1] == '.');
  }
  // The null address and a bare "@" stay what they are.
  if (plain || address.empty()) return std::string(address);
  std::string out = "\"";
  for (const char c : local) {
    if (c == '"' || c == '\\' || c == '\r') out += '\\';
    out += c;
  }
  return (out += '"').append(domain);
}

std::string unquote_address(std::string_view address) {
  std::string out;
  bool quoted = false;
  for (std::size_t i = 0; i < address.size(); ++i) {
    const char c = address[i];
    if (c == '"') {
      quoted = !quoted;
    } else if (c == '\\' && i + 1 < address.size()) {
      out += address[++i];
    } else if (c == '@' && !quoted) {
      return out.append(address.substr(i));
    } else {
      out += c;
    }
  }
  return out;
}

Result<std::string> read_file(const std::string& path, std::size_t limit) {
  const auto why = [&](int error) {
    return fail(error == ENOENT ? Errc::not_found : Errc::io, "open " + path + ": " + std::strerror(error));
  };
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return why(errno);
  std::string text;
  std::string buffer(65536, '\0');
  while (true) {
    const ssize_t got = ::read(fd, buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) {
      const int error = errno;
      ::close(fd);
      return why(error);
    }
    if (got == 0) break;
    text.append(buffer, 0, static_cast<std::size_t>(got));
    if (text.size() > limit) {
      ::close(fd);
      return fail(Errc::too_large, path + ": larger than " + std::to_string(limit) + " bytes");
    }
  }
  ::close(fd);
  return text;
}

}  // namespace millrace::map
