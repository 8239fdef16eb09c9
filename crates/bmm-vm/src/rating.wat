(module
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 2)
  (func (export "_start")
    (local $x i64) (local $slot i32) (local $i i32)
    (local.set $x (i64.const 0x9e3779b97f4a7c15))
    (loop $next
      ;; xorshift64: x ^= x << 13; x ^= x >> 7; x ^= x << 17
      (local.set $x (i64.xor (local.get $x) (i64.shl (local.get $x) (i64.const 13))))
      (local.set $x (i64.xor (local.get $x) (i64.shr_u (local.get $x) (i64.const 7))))
      (local.set $x (i64.xor (local.get $x) (i64.shl (local.get $x) (i64.const 17))))
      ;; Mix it with a slot of the table, and every other time with the product.
      (local.set $slot (i32.and (i32.wrap_i64 (local.get $x)) (i32.const 0xfff8)))
      (if (i64.eqz (i64.and (local.get $x) (i64.const 0x10000)))
        (then (i64.store (local.get $slot) (i64.mul (i64.load (local.get $slot)) (local.get $x))))
        (else (i64.store (local.get $slot) (i64.add (i64.load (local.get $slot)) (local.get $x)))))
      (local.set $x (i64.or (i64.xor (local.get $x) (i64.load (local.get $slot))) (i64.const 1)))
      (br_if $next (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 8000000))))
    (i64.store (i32.const 65552) (local.get $x))
    (i32.store (i32.const 65536) (i32.const 65552))
    (i32.store (i32.const 65540) (i32.const 8))
    (drop (call $fd_write (i32.const 1) (i32.const 65536) (i32.const 1) (i32.const 65544)))))
