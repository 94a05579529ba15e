import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

// package.json pins rollup to a release whose parts for every platform are in the lock file: npm drops, without a word,
// optional parts it can't find, and `npm ci` then refuses the lock.
// base "./": the server may mount the page anywhere. One chunk: the page is read from loopback.
export default defineConfig({
  plugins: [react()],
  base: "./",
  build: { outDir: "dist", emptyOutDir: true, chunkSizeWarningLimit: 2000 },
});
