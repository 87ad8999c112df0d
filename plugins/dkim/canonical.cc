// Canonicalization: see canonical.h.
#include "plugins/dkim/canonical.h"

#include <algorithm>
#include <map>

#include "plugins/dkim/tags.h"

namespace millrace::dkim {

std::string_view field_name(std::string_view field) {
  const std::size_t colon = field.find(':');
  return colon == field.npos ? std::string_view() : trim_space(field.substr(0, colon));
}

void canonical_field(std::string_view field, Canon canon, std::string& out) {
  const std::size_t colon = field.find(':');
  if (canon == Canon::simple || colon == field.npos) {
    out.append(field).append("\r\n");
    return;
  }
  out.append(lower(field_name(field))).push_back(':');
  bool space = false, any = false;
  for (const char c : field.substr(colon + 1)) {
    if (c == '\r' || c == '\n') continue;
    if (c == ' ' || c == '\t') {
      space = true;
      continue;
    }
    if (space && any) out += ' ';
    space = false;
    any = true;
    out += c;
  }
  out += "\r\n";
}

void BodyCanon::flush_lines(std::string& out) {
  for (; lines_ > 0; --lines_) out += "\r\n";
}

void BodyCanon::add(std::string_view bytes, std::string& out) { canon_ == Canon::simple ? simple(bytes, out) : relaxed(bytes, out); }

void BodyCanon::simple(std::string_view bytes, std::string& out) {
  while (!bytes.empty()) {
    if (cr_) {
      cr_ = false;
      if (bytes.front() == '\n') {
        ++lines_;
        bytes.remove_prefix(1);
        continue;
      }
      flush_lines(out);
      out += '\r';
      any_ = true;
      continue;
    }
    const std::size_t end = std::min(bytes.find('\r'), bytes.size());
    if (end > 0) {
      flush_lines(out);
      out.append(bytes.substr(0, end));
      any_ = true;
    }
    bytes.remove_prefix(end);
    if (!bytes.empty()) {
      cr_ = true;
      bytes.remove_prefix(1);
    }
  }
}

void BodyCanon::relaxed(std::string_view bytes, std::string& out) {
  const auto put = [&](std::string_view text) {
    flush_lines(out);
    if (space_) out += ' ';
    space_ = false;
    any_ = true;
    out.append(text);
  };
  while (!bytes.empty()) {
    const char c = bytes.front();
    if (cr_) {
      cr_ = false;
      if (c == '\n') {
        ++lines_;
        space_ = false;
        bytes.remove_prefix(1);
      } else {
        put("\r");
      }
      continue;
    }
    if (c == ' ' || c == '\t' || c == '\r') {
      (c == '\r' ? cr_ : space_) = true;
      bytes.remove_prefix(1);
      continue;
    }
    const std::size_t end = std::min(bytes.find_first_of(" \t\r"), bytes.size());
    put(bytes.substr(0, end));
    bytes.remove_prefix(end);
  }
}

void BodyCanon::finish(std::string& out) {
  if (cr_) {
    cr_ = false;
    flush_lines(out);
    if (space_) out += ' ';
    out += '\r';
    any_ = true;
  }
  lines_ = 0;
  space_ = false;
  // An empty body is CRLF when simple and nothing when relaxed.
  if (any_ || canon_ == Canon::simple) out += "\r\n";
}

std::vector<std::size_t> select_fields(const std::vector<std::string>& names, const std::vector<std::string>& wanted, std::size_t own) {
  std::map<std::string_view, std::vector<std::size_t>> places;   // from the top; taken from the back
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (i != own) places[names[i]].push_back(i);
  }
  std::vector<std::size_t> out;
  for (const std::string& name : wanted) {
    const auto found = places.find(name);
    if (found == places.end() || found->second.empty()) continue;
    out.push_back(found->second.back());
    found->second.pop_back();
  }
  return out;
}

}  // namespace millrace::dkim
