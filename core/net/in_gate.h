// Holds a place behind a gate that was entered, and leaves it whatever way the work ends.
#pragma once

#include "core/net/fiber.h"

namespace millrace::net {

class InGate {
 public:
  explicit InGate(Gate& gate) : gate_(gate) {}
  ~InGate() { gate_.leave(); }
  InGate(const InGate&) = delete;
  InGate& operator=(const InGate&) = delete;

 private:
  Gate& gate_;
};

}  // namespace millrace::net
