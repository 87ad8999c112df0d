// What travels over the control socket, as lists of strings inside wire.h frames.
//
//   "list"                                          items: listings
//   "cat", id                                       items: "entry" …, "content" piece …
//   "flush" | "flush", id | "site", domain          -
//   "change", letter, id or "", queue name …        done: changed, released
// Answer: items, then done, or failed: a kind ("denied", "not_found",
// "not_eligible", "invalid", "error") and a text.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/queue/admin.h"

namespace millrace::queue {

using Strings = std::vector<std::string>;

// A listing with many recipients becomes several items.
std::vector<Strings> encode_listing(const Listing& listing);
// Adds an item to the listings; false when it is malformed.
bool decode_listing(const Strings& item, std::vector<Listing>& listings);

// Queue, state and recipients of a message; of times only those that postcat shows.
Strings encode_entry(const Entry& entry);
std::optional<Entry> decode_entry(const Strings& item);

}  // namespace millrace::queue
