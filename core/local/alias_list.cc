#include "core/local/alias_list.h"

#include "core/base/strings.h"

namespace millrace::local {
namespace {

// One destination as it is read: its text, and where an unquoted "<" began an address proper.
struct Item {
  std::string text;
  bool quoted_start = false;
  bool any = false;
};

Destination classify(const Item& item) {
  const std::string& text = item.text;
  if (text.starts_with('|')) return {Destination::Kind::command, std::string(trim(std::string_view(text).substr(1)))};
  if (text.starts_with('/')) return {Destination::Kind::file, text};
  if (istarts_with(text, ":include:")) return {Destination::Kind::include, std::string(trim(std::string_view(text).substr(9)))};
  return {Destination::Kind::address, text};
}

}  // namespace

std::vector<Destination> parse_destinations(std::string_view text) {
  std::vector<Destination> out;
  Item item;
  bool space = false;        // white space since the last character
  std::size_t route = text.npos;   // where the text between < and > begins
  const auto end = [&] {
    if (item.any && !trim(item.text).empty() && out.size() < kMaxDestinations) {
      item.text = std::string(trim(item.text));
      out.push_back(classify(item));
    }
    item = {};
    space = false;
    route = text.npos;
  };
  const auto put = [&](char c) {
    if (space && !item.text.empty()) item.text += ' ';
    space = false;
    item.any = true;
    item.text += c;
  };
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '"') {
      const bool empty = item.text.empty();
      bool first = true;
      for (++i; i < text.size() && text[i] != '"'; ++i) {
        if (text[i] == '\\' && i + 1 < text.size()) ++i;
        if (first) {
          put(text[i]);
          first = false;
        } else {
          item.text += text[i];
        }
      }
      item.any = true;
      item.quoted_start = item.quoted_start || empty;
    } else if (c == '(') {
      int depth = 1;
      for (++i; i < text.size(); ++i) {
        if (text[i] == '\\') ++i;
        else if (text[i] == '(') ++depth;
        else if (text[i] == ')' && --depth == 0) break;
      }
      space = true;
    } else if (c == ',') {
      end();
    } else if (c == '<' && !item.text.starts_with('|') && route == text.npos) {
      item.text.clear();   // what stood before was a display name
      space = false;
      route = i;
    } else if (c == '>' && route != text.npos) {
      // The rest up to the comma is nothing.
      const std::size_t comma = text.find(',', i);
      i = comma == text.npos ? text.size() : comma - 1;
    } else if (is_space(c)) {
      space = true;
    } else if (c == '\\' && i + 1 < text.size() && !item.text.empty()) {
      put(text[++i]);
    } else {
      put(c);
    }
  }
  end();
  return out;
}

std::vector<Destination> parse_destination_file(std::string_view text) {
  std::vector<Destination> out;
  while (!text.empty() && out.size() < kMaxDestinations) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.starts_with('#')) continue;
    for (Destination& one : parse_destinations(line)) {
      if (out.size() < kMaxDestinations) out.push_back(std::move(one));
    }
  }
  return out;
}

std::vector<std::string> plain_command(std::string_view command) {
  constexpr std::string_view kPlain =
      "1234567890!@%-_=+:,./abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ \t";
  std::vector<std::string> out;
  if (command.find_first_not_of(kPlain) != command.npos) return out;
  for (const std::string_view word : split(command, " \t")) out.emplace_back(word);
  return out;
}

}  // namespace millrace::local
