// Starts the page.
import { createRoot } from "react-dom/client";
import "@fontsource/lato/400.css";
import "@fontsource/lato/400-italic.css";
import "@fontsource/lato/700.css";
import "@fontsource/lato/900.css";
import { App } from "./App";
import "./style.css";

createRoot(document.getElementById("root")!).render(<App />);
