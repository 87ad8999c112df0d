// What ASan and TSan must be told when the stack changes; nothing at all in other builds.
#pragma once

#include <cstddef>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define MILLRACE_ASAN 1
#endif
#if __has_feature(thread_sanitizer)
#define MILLRACE_TSAN 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define MILLRACE_ASAN 1
#endif
#if defined(__SANITIZE_THREAD__)
#define MILLRACE_TSAN 1
#endif

#ifdef MILLRACE_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#ifdef MILLRACE_TSAN
#include <sanitizer/tsan_interface.h>
#endif

namespace millrace::net {

#if defined(MILLRACE_ASAN) || defined(MILLRACE_TSAN)
constexpr bool kSanitized = true;
#else
constexpr bool kSanitized = false;
#endif

// `fake` null: the stack that is left never runs again.
inline void sanitizer_leave(void** fake, const void* bottom, std::size_t size) {
#ifdef MILLRACE_ASAN
  __sanitizer_start_switch_fiber(fake, bottom, size);
#else
  (void)fake, (void)bottom, (void)size;
#endif
}

inline void sanitizer_arrive(void* fake, const void** old_bottom, std::size_t* old_size) {
#ifdef MILLRACE_ASAN
  __sanitizer_finish_switch_fiber(fake, old_bottom, old_size);
#else
  (void)fake, (void)old_bottom, (void)old_size;
#endif
}

// Marks left by frames that never returned must not outlive the stack.
inline void sanitizer_forget(const void* base, std::size_t size) {
#ifdef MILLRACE_ASAN
  __asan_unpoison_memory_region(base, size);
#else
  (void)base, (void)size;
#endif
}

inline void* sanitizer_new_fiber() {
#ifdef MILLRACE_TSAN
  return __tsan_create_fiber(0);
#else
  return nullptr;
#endif
}

inline void sanitizer_delete_fiber(void* fiber) {
#ifdef MILLRACE_TSAN
  __tsan_destroy_fiber(fiber);
#else
  (void)fiber;
#endif
}

inline void* sanitizer_this_fiber() {
#ifdef MILLRACE_TSAN
  return __tsan_get_current_fiber();
#else
  return nullptr;
#endif
}

// Right before the jump, with nothing instrumented in between.
inline void sanitizer_switch(void* fiber) {
#ifdef MILLRACE_TSAN
  __tsan_switch_to_fiber(fiber, 0);
#else
  (void)fiber;
#endif
}

}  // namespace millrace::net
