// The author: see author.h.  One pass; an angle-addr ends it, else the first mailbox without one.
#include "plugins/dkim/author.h"

#include "plugins/dkim/signature.h"
#include "plugins/dkim/tags.h"

namespace millrace::dkim {

std::optional<Author> parse_author(std::string_view value) {
  std::string plain;   // without comments, white space outside quotes, display names
  unsigned comments = 0;
  bool quoted = false, angle = false;
  for (std::size_t i = 0; i < value.size(); ++i) {
    const char c = value[i];
    if (c == '\\' && (quoted || comments > 0) && i + 1 < value.size()) {
      ++i;
      if (quoted) (plain += c) += value[i];
      continue;
    }
    if (quoted) {
      plain += c;
      quoted = c != '"';
      continue;
    }
    if (c == '(') {
      ++comments;
    } else if (comments > 0) {
      if (c == ')') --comments;
    } else if (c == '"') {
      quoted = true;
      plain += c;
    } else if (c == '<' && !angle) {
      angle = true;
      plain.clear();   // what came was a display name
    } else if (c == '>' && angle) {
      break;
    } else if (c == ':' || c == ';') {
      if (angle && c == ':') {
        plain.clear();   // the end of a source route
      } else if (!angle) {
        if (c == ';') break;
        plain.clear();   // a group's name
      }
    } else if (c == ',' && !angle) {
      if (plain.rfind('@') != plain.npos) break;
      plain.clear();
    } else if (c != ' ' && c != '\t' && c != '\r' && c != '\n') {
      plain += c;
    }
  }
  const std::size_t at = plain.rfind('@');
  if (at == plain.npos || at == 0) return {};
  Author out{plain.substr(0, at), lower(std::string_view(plain).substr(at + 1))};
  if (out.local.size() >= 2 && out.local.front() == '"' && out.local.back() == '"') out.local = out.local.substr(1, out.local.size() - 2);
  if (!is_domain(out.domain)) return {};
  return out;
}

}  // namespace millrace::dkim
