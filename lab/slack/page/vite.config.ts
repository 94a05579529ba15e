import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

// base "./": the server may mount the page anywhere. One chunk: the page is read from loopback.
export default defineConfig({
  plugins: [react()],
  base: "./",
  build: { outDir: "dist", emptyOutDir: true, chunkSizeWarningLimit: 2000 },
});
