// Where the fields of a message are while a journal of edits grows: a plugin names fields as it read them,
// the journal wants the place they will have when its turn comes (core/filter/chain.h, apply()).  Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/mime/message.h"

namespace millrace::plugin {

class HeaderLayout {
 public:
  explicit HeaderLayout(const std::vector<mime::Header>& headers);

  // Each records the edit too.
  void add(std::string_view name);
  void prepend(std::string_view name);
  // Above the field that was number `visible` (own Received not counted); returns the index for the journal.
  std::size_t insert(std::uint64_t visible, std::string_view name);
  void erase(std::string_view name, std::uint64_t nth);

  // By which count the field that was the nth of its name is known now; nullopt: absent, or deleted.
  std::optional<std::size_t> locate(std::string_view name, std::uint64_t nth) const;

 private:
  struct Field {
    std::string name;           // lower case
    bool own = false;           // our Received
    std::int64_t visible = -1;  // number when read; -1: new or own
  };
  std::optional<std::size_t> find(std::string_view name, std::uint64_t nth) const;
  std::vector<Field> fields_;
  std::vector<std::string> names_;   // by `visible`
};

}  // namespace millrace::plugin
